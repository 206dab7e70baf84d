"""The check of a result record against `result_schema.json`, which is the one place where the format is written down.

The schema is compiled to plain code once, because a study has tens of thousands of records. jsonschema, thirty times
slower, judges only the records that the compiled check refuses, and its word is final: the two libraries read a few
corners differently (`$` in a pattern before a last line break), and its sentences name the cause.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import jsonschema

from engine.errors import UserError
from reports.migrations import migrate
from reports.strict_json import one_line

SCHEMA = "densebench/result"
UNITS = {"mIoU": "%", "box_AP": "%", "mask_AP": "%", "rmse": "m", "top1": "%", "mean_per_class": "%",
         "image_to_text_R1": "%", "text_to_image_R1": "%"}  # fmt: skip
ENORMOUS = 1e15
RANGES = {"%": (-100, 100), "m": (0, 1e6)}  # COCO's AP is -100 % where there is nothing to find
WRITTEN = Path(__file__).parent / "result_schema.json"


@functools.cache
def compiled() -> Callable[[Any], Any]:
    """The schema as compiled code, which raises `fastjsonschema.JsonSchemaValueException`."""
    return fastjsonschema.compile(json.loads(WRITTEN.read_text()), use_default=False)


@functools.cache
def validator() -> jsonschema.Draft202012Validator:
    """The schema as jsonschema walks it."""
    return jsonschema.Draft202012Validator(json.loads(WRITTEN.read_text()))


def check(record: Any, where: str) -> dict[str, Any]:
    """Return `record` in the current version.

    Raises `UserError` naming the first thing in it that breaks the schema; `where` opens the sentence.
    """
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise UserError(f"{where}: not a result record (its schema is {found!r}, not {SCHEMA!r}).")
    record = migrate(record, where)
    try:
        compiled()(record)
    except fastjsonschema.JsonSchemaValueException:
        _explain(record, where)
    _check_metrics(record, where)
    return record


def _explain(record: dict[str, Any], where: str) -> None:
    # The shallowest error of an unconditional rule first: it names the cause, others are often its consequences.
    errors = sorted(validator().iter_errors(record), key=lambda e: list(map(str, e.path)))
    error = min(errors, key=lambda e: (len(e.path), e.schema_path[0] == "allOf"), default=None)
    if error is not None:
        place = ".".join(map(str, error.absolute_path)) or "the record"
        raise UserError(f"{where}: {place} breaks the record schema: {one_line(error.message)}.")


def _check_metrics(record: dict[str, Any], where: str) -> None:
    """What JSON Schema cannot say: a finished record has one primary metric, an interval has two ordered ends, and a
    metric that tables show is in its unit, within what that unit allows."""
    primary = [name for name, metric in record["metrics"].items() if metric["primary"]]
    if record["status"] == "ok" and len(primary) != 1:
        raise UserError(f"{where}: {len(primary)} primary metrics ({', '.join(primary) or 'none'}); name exactly one.")
    for name, metric in record["metrics"].items():
        unit = UNITS.get(name, metric["unit"])
        if metric["unit"] != unit:
            raise UserError(f"{where}: {name} is in {metric['unit'] or 'no unit'!r}, but its unit is {unit!r}.")
        lowest, highest = RANGES.get(unit, (-ENORMOUS, ENORMOUS))
        for key in ("value", "low", "high", "chance"):
            if not lowest <= metric.get(key, lowest) <= highest:
                raise UserError(f"{where}: {key} of {name} is {metric[key]:g}; in {unit!r} it cannot be.")
        if ("low" in metric) != ("high" in metric) or metric.get("low", 0) > metric.get("high", 0):
            raise UserError(
                f"{where}: the interval of {name} needs low and high, low not above high; it has "
                f"{metric.get('low')} and {metric.get('high')}."
            )
