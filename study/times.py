"""Where the time of a study went, by kind of cell."""

from collections.abc import Mapping

from engine.progress import duration

Kind = tuple[bool, str, bool]  # pretraining; its method, or the task; a trial


def where_the_time_went(seconds: Mapping[Kind, list[float]]) -> str:
    """{kind of cell: seconds of each} -> a line for each kind, the dearest first: how many, their time, its share.

    Empty where no cell has run. Cells that run side by side count one by one, so the sum is no time of the wall.
    """
    total = sum(map(sum, seconds.values()))
    if not total:
        return ""
    lines = [f"where the time went: {duration(total)} in {sum(map(len, seconds.values()))} runs, one by one"]
    for kind, spent in sorted(seconds.items(), key=lambda row: -sum(row[1])):
        lines.append(f"{sum(spent) / total:6.1%}  {duration(sum(spent)):>7}  {len(spent):3d} x {named(kind)}")
    return "\n".join(lines)


def named(kind: Kind) -> str:
    """What a person calls cells of this kind."""
    pretraining, what, trial = kind
    return f"pretrain {what}" if pretraining else f"trial of {what}" if trial else what
