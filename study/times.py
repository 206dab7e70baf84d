"""Where the time of a study went, by kind of cell."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.progress import duration

Kind = tuple[bool, str, bool]  # pretraining; its method, or the task; a trial


@dataclass(frozen=True)
class Spent:
    """What a cell took, in seconds: of the clock, and of processors, None where its executor cannot know."""

    clock: float
    processor: float | None = None


def where_the_time_went(spent: Mapping[Kind, list[Spent]]) -> str:
    """{kind of cell: what each took} -> a line for each kind, the dearest first: its share, time and number.

    Seconds of processors count where all are known: they do not grow with other work on the machine. Empty where no
    cell has run. Cells that run side by side count one by one, so the sum is no time of the wall.
    """
    cells = [one for kind in spent.values() for one in kind]
    if not cells:
        return ""
    known = all(one.processor is not None for one in cells)

    def total(some: list[Spent]) -> float:
        return sum(one.processor if known else one.clock for one in some)

    whole, unit = total(cells), "of processors, all threads" if known else "of the clock"
    lines = [f"where the time went: {duration(whole)} {unit}, in {len(cells)} runs, one by one"]
    for kind, some in sorted(spent.items(), key=lambda row: -total(row[1])):
        each = f"{total(some) / len(some):6.1f} s each"
        share = total(some) / whole if whole else 0.0
        lines.append(f"{share:6.1%}  {duration(total(some)):>7}  {len(some):3d} x {each}  {named(kind)}")
    return "\n".join(lines)


def named(kind: Kind) -> str:
    """What a person calls cells of this kind."""
    pretraining, what, trial = kind
    return f"pretrain {what}" if pretraining else f"trial of {what}" if trial else what
