"""JSON read strictly: numbers are finite, no key stands twice, and every fault is one sentence."""

import json
import math
from pathlib import Path
from typing import Any

from engine.errors import UserError


def load(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: a file that is missing, cut short or no JSON, or that holds NaN, infinity or a key given twice.
    """
    try:
        with open(path, encoding="utf-8") as handle:  # not by way of a Path: a study has tens of thousands of records
            text = handle.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)}).") from None
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_no_duplicate_keys)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: truncated or not JSON (line {error.lineno}: {error.msg}).") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({one_line(error)}).") from None


def one_line(message: object) -> str:
    """A message without line breaks, of at most 200 characters."""
    text = " ".join(str(message).split())
    return text if len(text) <= 200 else text[:197] + "..."


def _finite(text: str) -> float:
    """Parse a JSON number; NaN, Infinity and what overflows to infinity raise ValueError."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _no_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
    return result
