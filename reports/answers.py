"""The page's first screen: which encoder is best on which task, by how much, at what cost, and what stays open."""

from dataclasses import replace

from reports.costs import mean, quantity
from reports.rows import Row
from reports.sections import TASK_NAMES, Column, Section
from reports.stats import paired
from reports.tables import Cell, Table, difference_cell, marks, number, row_label, spread
from reports.words import listed

FEW = 3  # names in one cell; of more, their number


def answer_table(section: Section) -> Table:
    """A row for each task: its best encoder by the primary metric, and the distance to the next and to the floor."""
    header = ["Task", "Best encoder", "Score", "Ahead of the next by", "Above random weights by", "Fine-tuning of one",
              "Its pretraining"]  # fmt: skip
    rows = [_row(section, column) for column in section.primary]
    return Table("The answer", header, rows, [""] * len(rows), text_columns=2)


def cannot_tell(limits: list[str]) -> list[str]:
    """The first clause of each limit; the whole stands with its part."""
    return [limit.partition(". ")[0].partition(": it ")[0].rstrip(".") + "." for limit in limits]


def _row(section: Section, column: Column) -> list[Cell]:
    label = Cell(TASK_NAMES[column.task], f"{column.short} {column.arrow}")
    means = {row: found.mean for row in section.competitors if (found := section.summary(row, column))}
    if not means:
        return [label, Cell("no finished run", "", "missing"), *[Cell("–", "", "missing")] * 5]
    order = sorted(means, key=means.__getitem__, reverse=column.direction == "up")
    best, floor = order[0], section.floor_of(order[0])
    summary, unit = section.summary(best, column), section.unit(column)
    return [
        label,
        _name(section, column, order),
        Cell(f"{number(summary.mean, unit)} {unit}".strip(), spread(summary, unit)),
        _ahead(section, column, best, order[1]) if len(order) > 1 else Cell("–", "alone", "missing"),
        _ahead(section, column, best, floor) if floor else Cell("–", "no random weights", "missing"),
        *_costs(section, column, best),
    ]


def _name(section: Section, column: Column, order: list[Row]) -> Cell:
    """The best row as far as it may be called so."""
    best, marked = order[0], marks(section, column)
    if len(order) == 1:
        return Cell(row_label(best), "no other to compare with")
    if any(len(section.values(row, column)) == 1 for row in order[:2]):
        return Cell(row_label(best), "highest of one seed each: no ranking" if column.direction == "up"
                    else "lowest of one seed each: no ranking")  # fmt: skip
    if marked.get(best) != "best":
        gate = section.gate(column)
        return Cell("not told", f"{gate.reason or gate.state}: no ranking; ahead is {section.name(best)}", "missing")
    close = [section.name(row) for row in order[1:] if marked.get(row) == "close"]
    several = listed(close) if len(close) <= FEW else f"{len(close)} others"
    return Cell(row_label(best), f"not told from {several}" if close else "told from all others", "best")


def _ahead(section: Section, column: Column, first: Row, second: Row) -> Cell:
    """The paired difference in the good direction."""
    difference = paired(section.values(first, column), section.values(second, column), column.direction)
    if difference is None:
        return Cell("–", "no common seed", "missing")
    if column.direction == "down":
        difference = replace(difference, mean=-difference.mean, direction="up")
    cell = difference_cell(difference, section.unit(column))
    return cell if second.kind == "floor" else replace(cell, sub=f"{section.name(second)}; {cell.sub}")


def _costs(section: Section, column: Column, row: Row) -> list[Cell]:
    """Seconds of one fine-tuning, and what pretraining took or where the weights are from."""
    records = [record for record in section.of(row, column.task) if record["status"] == "ok"]
    wall = mean(records, lambda record: record["cost"]["finetune_wall_s"])
    tuned = Cell("not measured", "", "missing") if wall is None else Cell(quantity(wall, "s"))
    budget, first = records[0]["budget"], records[0]
    if first["source"] is not None:
        data = budget["pretrain_data"]
        known = data["name"] if data["samples"] is None else f"{data['name']}, {data['samples']:,} samples"
        return [tuned, Cell("published weights", f"data {known}")]
    spent = mean(records, lambda record: record["cost"]["pretrain_wall_s"])  # each seed may have one of its own
    return [tuned, Cell(quantity(spent, "s"), f"{quantity(budget['pretrain_samples'])} samples seen")]
