"""Records sorted into sections whose values may stand in one table, and each section into rows and cells.

A section has one scale, data set and split, and one protocol per task. Records that differ in any of these never share
a table. On the data sets that the suite brings or has protocols for, encoders of one size alone share one; on a user's
own data all encoders do, since which of them is best there is the question. Trials of the settings search are counted,
never shown as cells.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from engine.catalogue import BASELINES, TASKS, Metric
from reports.encoders import call, size
from reports.records import Record, Unused, pretrained_on
from reports.rows import Row, encoder_of, row_order
from reports.stats import Headroom, Summary, headroom, summarise
from reports.strict_json import one_line
from reports.variants import told_apart

PUBLIC = ("scenes", "ade20k", "coco", "nyuv2", "imagenet")
"""Data sets of the suite's own study and of its published protocols; all others are a user's own."""
TASK_NAMES = {task.id: task.name for task in TASKS}


@dataclass(frozen=True, kw_only=True)
class Column(Metric):
    """One metric of one task."""

    task: str

    @property
    def arrow(self) -> str:
        """Up where more is better, down where less is."""
        return "↑" if self.direction == "up" else "↓"

    @property
    def alone(self) -> bool:
        """Whether it is a column even where it is not the task's primary metric."""
        return self.role != "instead"


COLUMNS = tuple(
    Column(task=task.id, **vars(metric)) for task in TASKS for metric in task.metrics if metric.role != "detail"
)


@dataclass
class Section:
    """Final records that may be compared: one scale, data set, split, encoder, and one protocol per task."""

    scale: str
    dataset: str
    split: str
    encoder: str
    protocols: dict[str, str]
    records: list[Record]
    trials: int
    searched_on: frozenset[str] = frozenset()  # the splits that trials were scored on, as the data set calls them
    rows: list[Row] = field(init=False)
    columns: list[Column] = field(init=False)
    cells: dict[tuple[Row, str], list[Record]] = field(init=False)  # (row, task) -> records by seed
    units: dict[tuple[str, str], str] = field(init=False)  # (task, metric) -> unit
    encoders: dict[Row, str] = field(init=False)  # the architecture of each row, as `encoder_name` says it
    built: dict[Row, str] = field(init=False)  # the same in timm's words, switches included
    places: dict[str, Row] = field(init=False)  # path of a record -> the row in which it stands

    def __post_init__(self) -> None:
        self.places = _rows(self.records)
        named = ((self.row_of(record), encoder_name(record)) for record in self.records)
        self.encoders = {row: name for row, name in named if name}
        self.built = {self.row_of(r): call(r["checkpoint"]["encoder"]) for r in self.records if r["checkpoint"]}
        if not self.encoder:
            known = {*self.encoders.values()}
            self.encoder = next(iter(known)) if len(known) == 1 else f"{len(known)} architectures"
        self.cells = defaultdict(list)
        for record in sorted(self.records, key=lambda r: r["seed"]):
            self.cells[self.row_of(record), record["task"]].append(record)
        self.rows = sorted({row for row, _ in self.cells}, key=row_order)
        metrics = [(r["task"], name, metric) for r in self.records for name, metric in r["metrics"].items()]
        self.units = {(task, name): metric["unit"] for task, name, metric in metrics}  # one for all: see _one_unit
        finished = self.units.keys()
        primary = {(task, name) for task, name, metric in metrics if metric["primary"]}
        failed = {r["task"] for r in self.records} - {task for task, _ in finished}
        self.columns = [
            c
            for c in COLUMNS
            if (c.task, c.name) in (finished if c.alone else primary) or (c.alone and c.task in failed)
        ]

    @property
    def title(self) -> str:
        """Scale, data set, split and encoder in words."""
        return f"{self.dataset}, {self.split} split, scale {self.scale}, {self.encoder}"

    @property
    def own(self) -> bool:
        """Whether the data are a user's own."""
        return self.dataset not in PUBLIC

    @property
    def competitors(self) -> list[Row]:
        """The rows that are ranked: neither floor nor ceiling."""
        return [row for row in self.rows if row.kind is None]

    @property
    def primary(self) -> list[Column]:
        """The first column of each task, by which methods are ranked across tasks."""
        first: dict[str, Column] = {}
        for column in self.columns:
            first.setdefault(column.task, column)
        return list(first.values())

    @property
    def seeds(self) -> list[int]:
        """Every seed that occurs, ascending."""
        return sorted({record["seed"] for record in self.records})

    def references(self, kind: str) -> list[Row]:
        """The "floor" or "ceiling" rows; a baseline without an encoder is neither."""
        return [row for row in self.rows if row.kind == kind and row.method not in BASELINES]

    def reference(self, kind: str) -> Row | None:
        """The first "floor" or "ceiling" row, if the section has one."""
        return next(iter(self.references(kind)), None)

    def floor_of(self, row: Row) -> Row | None:
        """The floor that a row is compared with: random weights of its own architecture, where there are several; at
        best with its own switches."""
        floors = self.references("floor")
        same = [floor for floor in floors if self.encoders.get(floor) == self.encoders.get(row)]
        exact = [floor for floor in same if self.built.get(floor) == self.built.get(row)]
        return next(iter([*exact, *(same if self.own else floors)]), None)

    def rows_of(self, method: str) -> list[Row]:
        """The rows of a method id; of several pretraining sets those of the largest."""
        found = [row for row in self.rows if row.method == method]
        return [row for row in found if row.data == found[0].data]

    def row_of(self, record: Record) -> Row:
        """The row in which a record stands."""
        return self.places[record.path]

    def name(self, row: Row) -> str:
        """The row's name, with what tells it from other rows of that name: captions, pretraining set, settings."""
        methods = {(other.method, other.captions) for other in self.rows if other.name == row.name}
        extra = [row.captions or row.method] if len(methods) > 1 else []
        extra += [text for text in (row.pretrained_on, row.variant) if text]
        return f"{row.name} ({'; '.join(extra)})" if extra else row.name

    def of(self, row: Row, task: str) -> list[Record]:
        """The records of one row and task, by seed."""
        return self.cells.get((row, task), [])

    def values(self, row: Row | None, column: Column) -> dict[int, float]:
        """{seed: value} of the finished runs of one cell; empty where there is none."""
        if row is None:
            return {}
        metrics = {r["seed"]: r["metrics"] for r in self.of(row, column.task) if r["status"] == "ok"}
        return {seed: m[column.name]["value"] for seed, m in metrics.items() if column.name in m}

    def failures(self, row: Row, task: str) -> dict[int, str]:
        """{seed: reason} of the failed runs of one row and task."""
        return {r["seed"]: one_line(r["error"]) for r in self.of(row, task) if r["status"] == "failed"}

    def summary(self, row: Row, column: Column) -> Summary | None:
        """Mean and interval of one cell; None where no run finished."""
        values = self.values(row, column)
        return summarise(values.values()) if values else None

    def image_interval(self, row: Row, column: Column) -> tuple[float, float] | None:
        """The bootstrap interval over test images of a cell with one finished run; None where it has none or more."""
        metrics = [r["metrics"][column.name] for r in self.of(row, column.task) if column.name in r["metrics"]]
        return (metrics[0]["low"], metrics[0]["high"]) if len(metrics) == 1 and "low" in metrics[0] else None

    def chance(self, column: Column) -> float | None:
        """What guessing gives in this column, where records say so."""
        found = (
            r["metrics"][column.name].get("chance")
            for r in self.records
            if r["task"] == column.task and column.name in r["metrics"]
        )
        return next((value for value in found if value is not None), None)

    def unit(self, column: Column) -> str:
        """The column's unit; empty where nothing finished or the metric has none."""
        return self.units.get((column.task, column.name), "")

    def gate(self, column: Column) -> Headroom:
        """The headroom gate of one column, its noise pooled over all rows."""
        values = {row: list(self.values(row, column).values()) for row in self.rows}
        floor, ceiling = (values.pop(self.reference(kind), []) for kind in ("floor", "ceiling"))
        return headroom(floor, ceiling, values.values(), column.direction)


def _rows(records: Iterable[Record]) -> dict[str, Row]:
    """Path of each record -> its row: encoders on several pretraining sets, and runs that differ by more than the seed,
    are rows of their own."""
    by_encoder: dict[Row, list[Record]] = defaultdict(list)
    for record in records:
        by_encoder[encoder_of(record)].append(record)
    places = {}
    for row, members in by_encoder.items():
        several = len({pretrained_on(record) for record in members} - {None}) > 1
        groups: dict[tuple[Row, str], list[Record]] = defaultdict(list)
        for record in members:
            own = replace(row, data=pretrained_on(record) or ("", None)) if several else row
            groups[own, record["task"]].append(record)
        for (own, _), group in groups.items():
            places |= {path: replace(own, variant=label) for path, label in told_apart(group).items()}
    return places


def encoder_name(record: Record) -> str | None:
    """What the encoders of one section share (`reports.encoders`); None for a failed run that had no checkpoint."""
    return size(record["checkpoint"]["encoder"]) if record["checkpoint"] else None


def sections(records: Iterable[Record]) -> tuple[list[Section], list[Unused]]:
    """Sort records into sections; also return, with reasons, the records that no section can take."""
    groups: dict[tuple, list[Record]] = defaultdict(list)
    trials: dict[tuple, list[Record]] = defaultdict(list)  # searched on validation: their split is not the section's
    homeless: list[Record] = []  # failed before an encoder was known
    for record in records:
        encoder = encoder_name(record) if record["dataset"] in PUBLIC else ""
        if record["role"] == "trial":
            trials[record["scale"], record["dataset"], encoder].append(record)
        elif encoder is None:
            homeless.append(record)
        else:
            groups[record["scale"], record["dataset"], record["tested_on"], encoder].append(record)
    for record in homeless:
        place = (record["scale"], record["dataset"], record["tested_on"])
        key = next((key for key in sorted(groups) if key[:3] == place), (*place, "unknown encoder"))
        groups[key].append(record)
    result: list[Section] = []
    unused: list[Unused] = []
    for key in sorted(groups):
        scale, dataset, _, encoder = key
        members, odd = _one_unit(groups[key])
        unused += odd
        searched = trials.pop((scale, dataset, encoder), [])
        splits = frozenset(record["tested_on"] for record in searched)
        for protocols, part in _by_protocols(members):
            result.append(Section(*key, protocols, part, len(searched), splits))
    for group in trials.values():
        unused += [Unused(r.path, "a trial of the settings search whose study has no final record") for r in group]
    return result, unused


def _by_protocols(records: list[Record]) -> list[tuple[dict[str, str], list[Record]]]:
    """Split records so that each part has one protocol per task: the k-th part takes each task's k-th protocol."""
    names = {
        task: sorted({r["protocol"] for r in records if r["task"] == task}, key=_natural)
        for task in sorted({r["task"] for r in records})
    }
    parts = []
    for k in range(max(map(len, names.values()), default=0)):
        chosen = {task: protocols[k] for task, protocols in names.items() if k < len(protocols)}
        parts.append((chosen, [r for r in records if chosen.get(r["task"]) == r["protocol"]]))
    return parts


def _one_unit(records: list[Record]) -> tuple[list[Record], list[Unused]]:
    """Leave out records that give a metric in another unit than the first record of their task."""
    units: dict[tuple[str, str], tuple[str, str]] = {}
    kept, unused = [], []
    for record in records:
        odd = None
        for name, metric in record["metrics"].items():
            unit, path = units.setdefault((record["task"], name), (metric["unit"], record.path))
            if unit != metric["unit"]:
                odd = Unused(record.path, f"{name} in {metric['unit']!r}, but {path} has it in {unit!r}")
        if odd:
            unused.append(odd)
        else:
            kept.append(record)
    return kept, unused


def _natural(text: str) -> list:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text)]
