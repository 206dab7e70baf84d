"""The check of a result record against the format: `result_schema.json`, and what the catalogue says of each task.

The file holds what all records have in common; which tasks there are, which metrics a finished record of each must have
and which way these are better is added from `engine/catalogue.py`. A metric has one unit in all tasks that have it.

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

from engine.catalogue import BASELINES, TASKS, Task
from engine.errors import UserError
from reports.migrations import migrate
from reports.strict_json import one_line

SCHEMA = "densebench/result"
UNITS = {metric.name: metric.unit for task in TASKS for metric in task.metrics if metric.unit}
ENORMOUS = 1e15
RANGES = {"%": (-100, 100), "m": (0, 1e6)}  # COCO's AP is -100 % where there is nothing to find
WRITTEN = Path(__file__).parent / "result_schema.json"


@functools.cache
def document() -> dict[str, Any]:
    """The whole schema: the written one, with the catalogue's tasks and a rule for each."""
    schema = json.loads(WRITTEN.read_text())
    schema["properties"]["task"] = {"enum": [task.id for task in TASKS]}
    encoder = {"properties": {"checkpoint": {"type": "object"}}}
    without = {"properties": {"method": {"enum": [*BASELINES]}}}
    schema["allOf"].append(_when("status", "ok", {"if": without, "else": encoder}))
    schema["allOf"].append(_when("status", "ok", {"allOf": [_when("task", task.id, _rule(task)) for task in TASKS]}))
    return schema


def _when(key: str, value: str, rule: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {key: {"const": value}}}, "then": rule}


def _rule(task: Task) -> dict[str, Any]:
    """What a task's finished records must hold: its metrics, each with its direction.

    Whatever else is measured on whole images is a share of right answers, and better upwards like the task's own.
    """
    first, *needed = [metric.name for metric in task.metrics if metric.role == "required"]
    instead = [metric.name for metric in task.metrics if metric.role == "instead"]
    metrics: dict[str, Any] = {
        "required": needed if instead else [first, *needed],
        "properties": {metric.name: {"$ref": f"#/$defs/{metric.direction}"} for metric in task.metrics},
    }
    if instead:
        metrics["anyOf"] = [{"required": [name]} for name in (first, *instead)]
    if task.group == "image":
        metrics["additionalProperties"] = {"$ref": "#/$defs/up"}
    return {"properties": {"metrics": metrics}}


@functools.cache
def compiled() -> Callable[[Any], Any]:
    """The schema as compiled code, which raises `fastjsonschema.JsonSchemaValueException`."""
    return fastjsonschema.compile(document(), use_default=False)


@functools.cache
def validator() -> jsonschema.Draft202012Validator:
    """The schema as jsonschema walks it."""
    return jsonschema.Draft202012Validator(document())


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
    _check_details(record.get("details"), where)
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


def _check_details(details: dict[str, Any] | None, where: str) -> None:
    """Lists by class are as long as the classes, and a confusion names two of them."""
    if details is None:
        return
    count = len(details["classes"])
    lists = {**details["per_class"], "confusion": details.get("confusion", [None] * count)}
    for name, values in lists.items():
        if len(values) != count:
            raise UserError(f"{where}: details have {len(values)} values of {name} for {count} classes.")
    for row in details.get("confusion", ()):
        if any(predicted >= count for predicted, _ in row["wrong"]):
            raise UserError(f"{where}: details confuse a class with one that is none of the {count}.")
