"""A row of a table: one method, told from the others, in its family and its place."""

from dataclasses import dataclass

from engine.catalogue import METHOD, METHODS, NEED_TEXT, Method
from reports.records import Record

METHOD_ORDER = tuple(method.id for method in METHODS)
VARIANT = "-"  # stands between a method's id and the name of its variant, as in an ablation


@dataclass(frozen=True)
class Row:
    """One method of a section; `kind` is "floor", "ceiling" or None for a competitor.

    `data` is (name, samples) of the pretraining set where the section has the method on several, else None.
    """

    method: str
    captions: str | None
    name: str
    kind: str | None
    data: tuple[str, int | None] | None = None

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
    """The family of a row's method; methods without a row of the catalogue are their own."""
    found = known(row.method)
    return found.family if found else "others"


def method_of(record: Record) -> Row:
    """The row of a record's method, whatever its pretraining set."""
    return Row(record["method"], record["captions"], record["method_name"], record["reference_kind"])


def row_order(row: Row) -> tuple:
    """Floor first, ceiling last, known methods by family with their variants, others by name."""
    rank = {"floor": 0, None: 1, "ceiling": 2}[row.kind]
    found = known(row.method)
    place = METHODS.index(found) if found else len(METHODS)
    name, samples = row.data or ("", None)
    return rank, place, row.method, row.captions or "", row.name, -(samples or 0), name
