"""JSON read strictly: numbers are finite, no key stands twice, and every fault is one sentence."""

import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any

from engine.errors import UserError
from engine.json_text import parse

MANY_DIGITS = re.compile(r"\d{19}")  # only then a whole number could be beyond the range of a float
LARGEST = 64 * 2**20  # bytes; a record has thousands, an analysis up to a few millions


def load(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: a file that is missing, no regular file, too large, cut short or no JSON, or that holds NaN,
            infinity, a key given twice or half a character.
    """
    try:
        with open(path, encoding="utf-8", opener=_at_once) as handle:
            found = os.fstat(handle.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
                what = f"larger than {LARGEST >> 20} MiB" if stat.S_ISREG(found.st_mode) else "no regular file"
                raise UserError(f"{path}: cannot be read (it is {what}).")
            text = handle.read()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)}).") from None
    try:
        return parse(text, parse_constant=_finite, parse_float=_finite,
                     parse_int=_whole if MANY_DIGITS.search(text) else None,
                     object_pairs_hook=_no_duplicate_keys)  # fmt: skip
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: truncated or not JSON (line {error.lineno}: {error.msg}).") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({one_line(error)}).") from None


def one_line(message: object) -> str:
    """A message without line breaks, of at most 200 characters; a long one keeps its end, which often is the reason."""
    text = " ".join(str(message).split())
    return text if len(text) <= 200 else f"{text[:120]}...{text[-77:]}"


def _at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe of that name has perhaps no other end."""
    return os.open(path, flags | os.O_NONBLOCK)


def _whole(text: str) -> int:
    """Parse a JSON integer; one beyond the range of a float raises ValueError."""
    _finite(text)
    return int(text)


def _finite(text: str) -> float:
    """Parse a JSON number; NaN, Infinity and what overflows to infinity raise ValueError."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text if len(text) < 30 else text[:20] + '...'} is not a finite number")
    return value


def _no_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
    return result
