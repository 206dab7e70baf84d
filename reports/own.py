"""Architectures side by side: what encoders of several sizes are, cost and were trained on."""

from collections.abc import Callable, Sequence
from typing import Any

from engine.catalogue import BASELINES
from reports.costs import quantity
from reports.encoders import call
from reports.records import Record
from reports.rows import Row
from reports.sections import TASK_NAMES, Section
from reports.tables import Cell, Table, row_kinds, row_label


def architectures_table(section: Section) -> Table:
    """Each encoder's architecture, cost at the input size of the first task, pace of fine-tuning, and its pretraining.

    Parameters are the whole model's with that task's head, FLOPs the encoder's with its adapter for one image.
    """
    task = next(name for name in TASK_NAMES if name in section.protocols)
    header = ["Encoder", "Architecture", "Parameters", "FLOPs", "Input", "Images/s in fine-tuning", "Family",
              "Pretrained on"]  # fmt: skip
    rows = [_row(section, row, task) for row in section.rows]
    notes = [f"Of {TASK_NAMES[task]}: parameters with the head, FLOPs of the encoder for one image, images per second "
             "of fine-tuning on the hardware named below. Unknown: no checkpoint or tag says it."]  # fmt: skip
    return Table("Encoders side by side", header, rows, row_kinds(section.rows), notes, text_columns=2)


def _row(section: Section, row: Row, task: str) -> list[Cell]:
    every = [record for record in section.records if section.row_of(record) == row]
    data = every[0]["budget"]["pretrain_data"]
    return [
        Cell(row_label(row)),
        *traits(every, task),
        Cell(row.family),
        Cell(data["name"], f"{data['samples']:,} samples" if data["samples"] is not None else ""),
    ]


def traits(records: Sequence[Record], task: str) -> list[Cell]:
    """What the records of one encoder say of it: architecture, and of their runs of `task` parameters of the whole
    model, FLOPs of the encoder for one image, input size, and images per second of fine-tuning."""
    of_task = [r for r in records if r["task"] == task and r["status"] == "ok"]
    encoder = next((r["checkpoint"]["encoder"] for r in records if r["checkpoint"]), None)
    absent = Cell("no encoder" if records[0]["method"] in BASELINES else "unknown", "", "missing")
    return [
        Cell(encoder["name"], call(encoder).partition("(")[2].rstrip(")")) if encoder else absent,
        _same(of_task, lambda r: r["cost"]["parameters"]),
        _same(of_task, lambda r: r["cost"]["flops"]),
        _same(of_task, lambda r: r["settings"]["input_size"]),
        _same(of_task, lambda r: r["cost"]["finetune_samples_per_s"]),
    ]


def _same(records: list[Record], read: Callable[[Record], Any]) -> Cell:
    """The mean of numbers, or a size that all share."""
    values = [value for value in map(read, records) if value is not None]
    if not values:
        return Cell("–", "", "missing")
    if isinstance(values[0], list):
        return Cell(" or ".join(dict.fromkeys(f"{height} x {width}" for height, width in values)))
    return Cell(quantity(sum(values) / len(values)))
