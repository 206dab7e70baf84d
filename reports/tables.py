"""The tables of one section, as plain cells that markdown.py and html.py render: results and differences.

Marks never claim more than the seeds allow: a column is ranked only where its headroom gate is open, the floor and
the ceiling are never ranked, and a cell that cannot be told from the best by the paired interval says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.catalogue import BASELINES
from reports.encoders import departures
from reports.records import Record
from reports.rows import Row, family, no_text
from reports.sections import TASK_NAMES, Column, Section
from reports.stats import LEVEL, Difference, Headroom, Summary, holm, paired


@dataclass(frozen=True)
class Cell:
    """`text`, a smaller `sub` line below it, and a `kind` for its looks: "", "best", "close", "highest", "better",
    "worse", "reference", "missing" or "failed"."""

    text: str
    sub: str = ""
    kind: str = ""


@dataclass
class Table:
    """Header cells, body rows (first cell names the row), the kinds of each row ("floor", "ceiling", "footer", "start"
    where a new group begins, in one string), and notes below."""

    caption: str
    header: list[str]
    rows: list[list[Cell]]
    kinds: list[str]
    notes: list[str] = field(default_factory=list)
    text_columns: int = 1  # how many leading columns are words, aligned left


def number(value: float, unit: str, signed: bool = False) -> str:
    """Format a metric value: one decimal for per cent, three for metres and shares; a true minus sign."""
    text = f"{value:{'+' if signed else ''}.{1 if unit == '%' else 3}f}"
    if float(text) == 0:
        text = text.replace("-", "").replace("+", "")
    return text.replace("-", "−")


def spread(found: Summary | Difference, unit: str) -> str:
    """The interval and how many seeds it rests on."""
    return f"n={found.n}" if found.half is None else f"± {number(found.half, unit)}, n={found.n}"


def difference_cell(found: Difference, unit: str) -> Cell:
    """A paired difference with its interval, and better or worse where the interval leaves out zero."""
    verdict = {"n=1": "", "not distinguishable": ", ≈ 0"}.get(found.verdict, f", {found.verdict}")
    kind = found.verdict if found.verdict in ("better", "worse") else ""
    return Cell(number(found.mean, unit, signed=True), f"{spread(found, unit)}{verdict}", kind)


def header(section: Section, column: Column) -> str:
    """Label, unit and direction of a column."""
    unit = section.unit(column)
    return f"{column.label}{f' ({unit})' if unit else ''}\N{NO-BREAK SPACE}{column.arrow}"


def marks(section: Section, column: Column) -> dict[Row, str]:
    """Return {competitor: mark} for one column: "best" and "close" where the gate is open, "highest" where it cannot
    be tested, nothing where there is no headroom."""
    means = {row: s.mean for row in section.competitors if (s := section.summary(row, column))}
    gate = section.gate(column)
    if len(means) < 2 or gate.state == "no headroom":
        return {}
    repeated = all(len(section.values(row, column)) > 1 for row in means)
    if section.own and not repeated:
        return {}
    good = max if column.direction == "up" else min
    best = [row for row in means if means[row] == good(means.values())]
    if gate.state != "open" and not section.own:  # nobody has an oracle of his own data: there the tests decide alone
        return dict.fromkeys(best, "highest")
    others = [row for row in means if row not in best]
    tests = {
        row: difference.p
        for row in others
        if (difference := paired(section.values(row, column), section.values(best[0], column), column.direction))
    }
    tested = [row for row in others if tests.get(row) is not None]
    apart = {row for row, p in zip(tested, holm([tests[row] for row in tested]), strict=True) if p < 1 - LEVEL}
    return dict.fromkeys(best, "best") | {row: "close" for row in others if row not in apart}


def gate_cell(gate: Headroom) -> Cell:
    """The gate of one column in a few words."""
    if gate.state == "not testable":
        return Cell("not testable", gate.reason, "missing")
    ratio = "∞" if gate.noise == 0 and gate.margin > 0 else f"{gate.ratio:.1f}".replace("-", "−")
    return Cell(gate.state, f"{ratio} seed sd", "" if gate.state == "open" else "failed")


def result_cell(section: Section, row: Row, column: Column, mark: str) -> Cell:
    """One cell of the main table: value with interval and n, or "missing", or "failed: reason"."""
    summary = section.summary(row, column)
    failures = section.failures(row, column.task)
    if summary is None:
        if failures:
            return Cell(
                f"failed: {_short(next(iter(failures.values())))}", f"{len(failures)} of {len(failures)} runs", "failed"
            )
        if no_text(row, column.task):
            return Cell("–", "no text tower", "missing")
        return Cell("missing", "", "missing")
    unit = section.unit(column)
    images = section.image_interval(row, column)
    if images:
        low, high = (number(value, unit) for value in images)
        return Cell(number(summary.mean, unit), f"[{low}, {high}], n=1", mark)
    lost = f", {len(failures)} failed" if failures else ""
    kind = mark or ("reference" if row.kind else "")
    return Cell(number(summary.mean, unit), f"{spread(summary, unit)}{lost}", kind)


def main_table(section: Section) -> Table:
    """Methods by metrics: the floor first, competitors, the ceiling last, and a footer with the headroom gates."""
    columns = section.columns
    ranked = {column: marks(section, column) for column in columns}
    rows = [
        [Cell(row_label(row))] + [result_cell(section, row, c, ranked[c].get(row, "")) for c in columns]
        for row in section.rows
    ]
    kinds = row_kinds(section.rows)
    if not section.own or section.reference("ceiling"):
        rows.append([Cell("Headroom", "ceiling − floor")] + [gate_cell(section.gate(column)) for column in columns])
        kinds.append("footer")
    table = Table(
        "Results", ["Encoder" if section.own else "Method", *(header(section, c) for c in columns)], rows, kinds
    )
    table.notes = _main_notes(section, ranked)
    return table


def row_kinds(rows: Sequence[Row]) -> list[str]:
    """Each row's kind for its looks, with "family" where competitors of another family begin."""
    kinds = []
    for before, row in zip([None, *rows[:-1]], rows, strict=True):
        starts = before is not None and before.kind is None and row.kind is None and family(before) != family(row)
        kinds.append("family" if starts else row.kind or "")
    return kinds


def difference_table(section: Section) -> Table | None:
    """Every other row minus its floor, paired over common seeds; None without a floor."""
    pairs = {row: floor for row in section.rows if row.kind != "floor" and (floor := section.floor_of(row))}
    if not pairs:
        return None
    others = list(pairs)
    rows = [[Cell(row_label(row)), *pair_cells(section, row, floor)] for row, floor in pairs.items()]
    several = len({*pairs.values()}) > 1
    against = "random weights of the same architecture" if several else next(iter(pairs.values())).name
    notes = [
        "First minus second in the metric's own unit, paired over common seeds, with the 95 % Student interval. "
        "Better and worse follow the metric's direction and are said only where the interval leaves out zero, "
        "else ≈ 0; intervals are not corrected for the number of comparisons."
    ]
    return Table(f"Difference to {against}", pair_header(section), rows, row_kinds(others), notes)


def pair_header(section: Section) -> list[str]:
    """The header of a table of paired differences."""
    return ["Comparison", *(header(section, column) for column in section.columns)]


def pair_cells(section: Section, first: Row, second: Row) -> list[Cell]:
    """First minus second in every column, paired over common seeds."""
    cells = []
    for column in section.columns:
        difference = paired(section.values(first, column), section.values(second, column), column.direction)
        if difference is not None:
            cells.append(difference_cell(difference, section.unit(column)))
        elif no_text(first, column.task) or no_text(second, column.task):
            cells.append(Cell("–", "no text tower", "missing"))
        else:
            cells.append(Cell("missing", "", "missing"))
    return cells


def row_label(row: Row) -> str:
    """The encoder's name, its captions where it has any, its pretraining set and settings where there are several, and
    whether it is a reference line."""
    role = {"floor": "floor", "ceiling": "ceiling, not ranked"}.get(row.kind or "")
    captions = f"{row.captions} captions" if row.captions and row.captions not in row.name else ""
    extra = [text for text in (captions, row.pretrained_on, row.variant, role) if text]
    return f"{row.name} ({'; '.join(extra)})" if extra else row.name


def _seen(record: Record) -> str:
    """The samples of a record's pretraining, as they are said."""
    samples = record["budget"]["pretrain_samples"]
    return "unknown" if samples is None else f"{samples:,}"


def unequal(section: Section) -> list[str]:
    """Name what is not equal between the competitors of a section: pretraining samples, fine-tuning budget, seeds."""
    found = []
    samples = {
        section.name(row): sorted({_seen(r) for r in section.records if section.row_of(r) == row})
        for row in section.competitors
    }
    if len({tuple(v) for v in samples.values()}) > 1:
        found.append(
            "Pretraining budgets differ (samples seen): "
            + "; ".join(f"{name}: {' or '.join(values)}" for name, values in samples.items())
            + "."
        )
    for task in section.protocols:
        for key in ("iterations", "global_batch", "precision", "input_size", "train_images"):
            values = sorted(
                {
                    str(r["settings"][key])
                    for r in section.records
                    if r["task"] == task and r["status"] == "ok" and r["method"] not in BASELINES
                }
            )
            if len(values) > 1:
                found.append(
                    f"Fine-tuning for {TASK_NAMES[task]} differs in {key.replace('_', ' ')}: {', '.join(values)}."
                )
    encoders = {
        section.name(row): r["checkpoint"]["encoder"]
        for row in section.rows
        for r in section.records
        if section.row_of(r) == row and r["checkpoint"]
    }
    if encoders and not section.own and (text := departures(encoders)):
        found.append(text)
    counts = {len(section.values(row, c)) for row in section.rows for c in section.columns if not no_text(row, c.task)}
    if len(counts) > 1:
        found.append("Cells rest on different numbers of seeds; n stands in each.")
    return found


def _main_notes(section: Section, ranked: dict[Column, dict[Row, str]]) -> list[str]:
    notes = ["Mean over n seeds ± half-width of the 95 % Student interval; n=1 has no interval."]
    used = {mark for column in ranked.values() for mark in column.values()}
    if "best" in used:
        notes.append(
            "Bold: best competitor; ≈: not distinguishable from it by paired t-tests over common seeds at "
            "5 %, corrected by Holm for the number of methods in the column."
        )
    if any(section.image_interval(row, column) for row in section.rows for column in section.columns):
        notes.append(
            "[low, high]: 95 % bootstrap interval over the test images of one run. It says how "
            "the score may change with other images, not with another seed."
        )
    chance = [
        f"{c.label} {number(section.chance(c), section.unit(c))}"
        for c in section.columns
        if section.chance(c) is not None
    ]
    if chance:
        notes.append(f"Guessing gives: {', '.join(chance)}.")
    if "highest" in used:
        notes.append("°: ahead in a column whose headroom could not be tested. This is not a ranking.")
    if not section.own or section.reference("ceiling"):
        notes.append(
            "Headroom: ceiling minus floor must reach 3 pooled seed standard deviations; below that the column "
            "is not ranked."
        )
    absent = [name for task, name in TASK_NAMES.items() if task not in section.protocols]
    if absent and not section.own:
        notes.append(f"No records here for {', '.join(absent)}.")
    failures = [
        f"{section.name(row)}, {TASK_NAMES[task]}, seed {seed}: {reason}"
        for row in section.rows
        for task in section.protocols
        for seed, reason in section.failures(row, task).items()
    ]
    return notes + unequal(section) + [f"Failed: {text}" for text in failures]


def _short(reason: str) -> str:
    text = " ".join(reason.split())
    return text if len(text) <= 45 else text[:42] + "..."
