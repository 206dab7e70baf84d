"""What each result cost and with which settings it was reached: cost and settings tables of one section."""

import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from reports.records import Record
from reports.sections import TASK_NAMES, Section
from reports.tables import Cell, Table, row_label

ABSENT = Cell("not recorded", "", "missing")


def quantity(value: float | None, unit: str = "") -> str:
    """Three significant digits with k, M, G, T steps, or thousands separated for counts below a million."""
    if value is None:
        return "not recorded"
    if value >= 1e6:
        step = min(int(np.log10(value) // 3), 4)
        text = f"{value / 1000**step:.3g} {'kMGT'[step - 1]}{unit}"
    elif float(value).is_integer() or value >= 100:
        text = f"{value:,.0f}{' ' + unit if unit else ''}"
    else:
        text = f"{value:.3g}{' ' + unit if unit else ''}"
    return text


def pretraining_cost(section: Section) -> Table:
    """Per method: pretraining time, speed, samples seen, updates, and the encoder's size, over seeds."""
    header = ["Method", "wall time (s)", "samples/s", "samples seen", "updates"]
    rows = []
    for row in section.rows:
        records = list({r["seed"]: r for task in section.protocols for r in section.of(row, task)}.values())
        rows.append(
            [
                Cell(row_label(row)),
                _mean(records, lambda r: r["cost"]["pretrain_wall_s"]),
                _mean(records, lambda r: r["cost"]["pretrain_samples_per_s"]),
                _mean(records, lambda r: r["budget"]["pretrain_samples"]),
                _mean(records, lambda r: r["budget"]["pretrain_updates"]),
            ]
        )
    notes = ["Mean over seeds. One pretraining serves all tasks.", *earlier_stages(section)]
    if len(machines := sorted({machine(r["hardware"]) for r in section.records})) > 1:
        notes.append(
            f"The runs used different hardware ({'; '.join(machines)}): times are not comparable between all rows."
        )
    return Table("Cost of pretraining", header, rows, [row.kind or "" for row in section.rows], notes)


def earlier_stages(section: Section) -> list[str]:
    """For each method of several stages, one sentence on those before the last, whose cost the table leaves out."""
    found = {}
    for row in section.rows:
        for record in (r for task in section.protocols for r in section.of(row, task)):
            stages = [
                f"{stage['method']} ({stage['samples']:,} samples"
                + (f", {stage['wall_s']:,.0f} s)" if stage["wall_s"] is not None else ")")
                for stage in record["budget"].get("earlier_stages", [])
            ]
            if stages:
                found.setdefault(f"{row.name} comes after {', '.join(stages)}, not counted in its row.", None)
    return list(found)


def finetuning_cost(section: Section) -> Table:
    """Per task and method: fine-tuning time, speed, peak memory, parameters, FLOPs and hardware, over seeds."""
    header = [
        "Task",
        "Method",
        "wall time (s)",
        "samples/s",
        "peak memory (MiB)",
        "parameters",
        "encoder FLOPs",
        "hardware",
    ]
    machines = sorted({machine(r["hardware"]) for r in section.records})
    letters = {name: _letter(k) for k, name in enumerate(machines)}
    rows, kinds = [], []
    for task in (name for name in TASK_NAMES if name in section.protocols):
        for row in section.rows:
            records = [r for r in section.of(row, task) if r["status"] == "ok"]
            if not records:
                continue
            used = ", ".join(sorted({letters[machine(r["hardware"])] for r in records}))
            rows.append(
                [
                    Cell(TASK_NAMES[task]),
                    Cell(row_label(row)),
                    _mean(records, lambda r: r["cost"]["finetune_wall_s"]),
                    _mean(records, lambda r: r["cost"]["finetune_samples_per_s"]),
                    _mean(records, lambda r: r["cost"]["peak_memory_mib"]),
                    _mean(records, lambda r: r["cost"]["parameters"]),
                    _mean(records, lambda r: r["cost"]["flops"]),
                    Cell(used),
                ]
            )
            kinds.append(_row_kind(row.kind, rows))
    notes = [
        "Mean over seeds, of the final runs alone (the settings search is not counted). Parameters "
        "are the whole model's, FLOPs the encoder's for one test image."
    ]
    notes += [f"Hardware {letter}: {name}." for name, letter in letters.items()]
    return Table("Cost of fine-tuning", header, rows, kinds, notes, text_columns=2)


def settings_table(section: Section) -> Table:
    """Per task and method: the chosen learning rate and layer decay, how they were chosen, and the budget."""
    header = [
        "Task",
        "Method",
        "learning rate",
        "layer decay",
        "trials",
        "validation score",
        "iterations",
        "batch size",
        "training images",
    ]
    rows, kinds = [], []
    for task in (name for name in TASK_NAMES if name in section.protocols):
        for row in section.rows:
            records = [r for r in section.of(row, task) if r["settings"]["lr"] is not None]
            if not records:  # none at all, or a task that trains nothing
                continue
            searches = [r["selection"] for r in records if r["selection"]]
            scores = [_score(search) for search in searches]
            names = sorted({search["metric"] for search in searches})
            rows.append(
                [
                    Cell(TASK_NAMES[task]),
                    Cell(row_label(row)),
                    _values(r["settings"]["lr"] for r in records),
                    _values(r["settings"]["layer_decay"] for r in records),
                    _values(len(search["trials"]) for search in searches)
                    if searches
                    else Cell("0", "given, not searched"),
                    Cell(_values(scores).text, ", ".join(names)) if searches else Cell("–"),
                    *(
                        _values(r["settings"][key] for r in records)
                        for key in ("iterations", "global_batch", "train_images")
                    ),
                ]
            )
            kinds.append(_row_kind(row.kind, rows))
    tasks = [name for task, name in TASK_NAMES.items() if task in section.protocols]
    idle = [name for name in tasks if name not in {row[0].text for row in rows}]
    notes = [f"{', '.join(idle)}: nothing is trained, so there are no settings."] if idle else []
    return Table("Settings", header, rows, kinds, _search_notes(section) + notes, text_columns=2)


def _search_notes(section: Section) -> list[str]:
    if not any(r["selection"] for r in section.records):
        return ["Every run's settings were given, not searched for on validation."]
    notes = [
        f"Chosen on validation; {section.split} is only reported. Trial records counted, not shown: {section.trials:,}."
    ]
    for task in (name for name in TASK_NAMES if name in section.protocols):
        searches = {
            section.name(row): {
                repr((sorted(s["grid"].items()), len(s["trials"]))) if s else "none"
                for s in (r["selection"] for r in section.of(row, task))
            }
            for row in section.rows
            if section.of(row, task)
        }
        if len(set().union(*searches.values())) > 1:
            groups = "; ".join(name for name, kinds in searches.items() if kinds != next(iter(searches.values())))
            notes.append(
                f"Unequal search for {TASK_NAMES[task]}: {groups or 'some seeds'} had another grid or number "
                "of trials than the first row. The comparison is not fair in this respect."
            )
    if len(notes) == 1:
        notes.append("Every method had the same grid and the same number of trials in each task.")
    grids = {
        f"{key}: {', '.join(f'{v:g}' for v in values)}"
        for r in section.records
        if r["selection"]
        for key, values in r["selection"]["grid"].items()
    }
    if grids:
        notes.append(f"Grid: {'; '.join(sorted(grids, reverse=True))}.")
    return notes


def _row_kind(kind: str | None, rows: list[list[Cell]]) -> str:
    """The row's kind, with "start" where the last of `rows` opens another task."""
    starts = len(rows) > 1 and rows[-1][0] != rows[-2][0]
    return " ".join(filter(None, (kind, "start" if starts else "")))


def _score(search: dict) -> float | None:
    chosen = search["chosen"]
    return next(
        (
            trial["value"]
            for trial in search["trials"]
            if (trial["lr"], trial["layer_decay"]) == (chosen["lr"], chosen["layer_decay"])
        ),
        None,
    )


def mean(records: Sequence[Record], read: Callable[[Record], float | None]) -> float | None:
    """The mean of what the records say, over those that say it; None where none does."""
    values = [value for value in map(read, records) if value is not None]
    return float(np.mean(values)) if values else None


def _mean(records: Sequence[Record], read: Callable[[Record], float | None]) -> Cell:
    value = mean(records, read)
    return ABSENT if value is None else Cell(quantity(value))


def _values(values: Iterable[float | None]) -> Cell:
    """The distinct values over seeds, in order of first sight."""
    distinct = dict.fromkeys(values)
    texts = ["–" if value is None else f"{value:.4g}" for value in distinct]
    return Cell(", ".join(texts) if texts else "–")


def machine(hardware: Mapping[str, Any]) -> str:
    """Device, processor and threads of a record or an analysis in words: what two times must share to be compared."""
    threads = hardware.get("threads")
    parts = [hardware.get("device"), hardware.get("cpu"), threads and f"{threads} thread{'s' if threads != 1 else ''}"]
    return ", ".join(dict.fromkeys(str(part) for part in parts if part)) or "hardware not recorded"


def _letter(index: int) -> str:
    return string.ascii_uppercase[index] if index < 26 else f"Z{index - 25}"
