"""A row of a table: one encoder, told from the others, in its family and its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from engine.catalogue import GROUPS, METHOD, METHODS, NEED_TEXT, Method
from engine.errors import UserError
from reports.records import Record

METHOD_ORDER = tuple(method.id for method in METHODS)
VARIANT = "-"  # stands between a method's id and the name of its variant, as in an ablation


@dataclass(frozen=True)
class Row:
    """One encoder of a section.

    Attributes:
        method: that it was pretrained by.
        name: its own.
        kind: "floor", "ceiling" or None for a competitor.
        data: (name, samples) of the pretraining set where the section has the encoder on several, else None.
        family: of pretraining, as in its records.
        variant: what tells it from rows of the same name: settings, options or weights; empty where it is alone.
    """

    method: str
    captions: str | None
    name: str
    kind: str | None
    data: tuple[str, int | None] | None = None
    family: str = "unknown"
    variant: str = ""

    @property
    def pretrained_on(self) -> str:
        """`data` in words; empty where there is only one."""
        if self.data is None:
            return ""
        name, samples = self.data
        if not name:
            return "pretraining data not recorded"
        return f"{samples:,} samples of {name}" if samples is not None else name


def known(method: str) -> Method | None:
    """The catalogue's row of a method, or of the one that it is a variant of; None for a method that has none."""
    return METHOD.get(method.partition(VARIANT)[0])


def no_text(row: Row, task: str) -> bool:
    """Whether a task cannot be done because the method's encoder has no text tower."""
    found = known(row.method)
    return task in NEED_TEXT and (row.captions is None or (found is not None and not found.text))


def family(row: Row) -> str:
    """The group in which tables show a row: that of its method, or that of its family where the method has none."""
    found = known(row.method)
    return found.family if found else GROUPS.get(row.family, "others")


def encoder_of(record: Record) -> Row:
    """The row of a record's encoder, whatever its pretraining set and its settings."""
    named = (record["method"], record["captions"], record["name"], record["reference_kind"])
    return Row(*named, family=record["family"])


def chosen(records: Sequence[Record], patterns: Sequence[str]) -> list[Record]:
    """The records of the encoders whose names fit a shell pattern, and of floors and ceilings, between which every
    result stands; all records without patterns. UserError for a pattern that no name fits."""
    names, wanted = sorted({record["name"] for record in records}), set()
    for pattern in patterns:
        found = {pattern}.intersection(names) or {name for name in names if fnmatchcase(name, pattern)}
        if not found:
            raise UserError(f"--rows {pattern!r} fits none of {', '.join(names)}")
        wanted |= found
    return [one for one in records if not patterns or one["reference_kind"] or one["name"] in wanted]


FAMILIES = tuple(dict.fromkeys((*(method.family for method in METHODS), *GROUPS.values(), "others")))


def row_order(row: Row) -> tuple:
    """Floor first, ceiling last; families together, known methods in their order with variants, others by name."""
    rank = {"floor": 0, None: 1, "ceiling": 2}[row.kind]
    found = known(row.method)
    place = METHODS.index(found) if found else len(METHODS)
    name, samples = row.data or ("", None)
    group = FAMILIES.index(family(row))
    return rank, group, place, row.method, row.captions or "", row.name, row.variant, -(samples or 0), name
