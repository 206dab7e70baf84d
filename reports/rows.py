"""A row of a table: one method, told from the others, in its family and its place."""

from dataclasses import dataclass

from reports.records import Record

FAMILIES = {  # rows of a table stand in this order, with a line between families
    "references": ("random", "oracle"),
    "labels": ("supervised",),
    "captions": ("clip", "clip_resnet18", "clip_rewritten", "clip_enriched", "clip_mixed", "clip_aligned", "datacompdr",
                 "slip", "declip", "lightclip", "lightclip_resnet18", "lightclip_mobilenetv2", "lightclip_swin_nano",
                 "maskclip"),
    "views": ("moco_v3", "dino"),
    "masked images": ("mae", "beit", "cae"),
    "two stages": ("fd", "wsp"),
}  # fmt: skip
METHOD_ORDER = tuple(method for family in FAMILIES.values() for method in family)
NEED_TEXT = ("zero_shot", "retrieval")  # tasks for encoders with a text tower
CAPTIONS_AS_TAGS = ("wsp",)  # methods that read captions and have no text tower
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


def no_text(row: Row, task: str) -> bool:
    """Whether a task cannot be done because the method's encoder has no text tower."""
    return task in NEED_TEXT and (row.captions is None or row.method in CAPTIONS_AS_TAGS)


def family(row: Row) -> str:
    """The family of a row's method or of the method that it is a variant of; unknown methods are their own."""
    base = row.method.partition(VARIANT)[0]
    return next((name for name, methods in FAMILIES.items() if base in methods), "others")


def method_of(record: Record) -> Row:
    """The row of a record's method, whatever its pretraining set."""
    return Row(record["method"], record["captions"], record["method_name"], record["reference_kind"])


def row_order(row: Row) -> tuple:
    """Floor first, ceiling last, known methods by family with their variants, others by name."""
    rank = {"floor": 0, None: 1, "ceiling": 2}[row.kind]
    base = row.method.partition(VARIANT)[0]
    known = METHOD_ORDER.index(base) if base in METHOD_ORDER else len(METHOD_ORDER)
    name, samples = row.data or ("", None)
    return rank, known, row.method, row.captions or "", row.name, -(samples or 0), name
