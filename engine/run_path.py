"""Where runs lie: runs/<place>/<task>/<method>/seed<seed>, the one owner of that layout.

A place is a scale, or <scale>-<data> where a data overlay brought data of its own.
"""

import re
from dataclasses import dataclass
from pathlib import Path

RUNS = Path("runs")
LOG = "log.txt"  # in a run's folder: what it printed as a cell of a study


@dataclass(frozen=True)
class RunPath:
    """The default folder of one run.

    Attributes:
        suffix: of a run that departs from the study's own settings: "-" and a hash, else empty.
    """

    place: str
    task: str
    method: str
    seed: int
    suffix: str = ""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return RUNS / self.place / self.task / self.method / f"seed{self.seed}{self.suffix}"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint folder that a pretraining leaves there."""
        return self.folder / "checkpoint"


def pretraining(place: str, method: str, seed: int) -> RunPath:
    """The run that pretrains `method`."""
    return RunPath(place, "pretrain", method, seed)


def place_of(scale: str, data: str | None) -> str:
    """Where the runs of a scale lie that read a data set of that name; None: the scale's own data."""
    return scale if data is None else f"{scale}-{data}"


def trial_folder(place: str, task: str, method: str, point: dict[str, float], suffix: str = "") -> Path:
    """The folder of a trial of settings."""
    settings = "-".join(f"{key}{value:g}" for key, value in point.items())
    return RUNS / place / "trials" / task / method / f"{settings}{suffix}"


def parse_run(folder: str | Path) -> tuple[str, str] | None:
    """Task and method of a run or a trial, by the name of its folder; None for another folder."""
    found = re.fullmatch(rf"{RUNS}/[^/]+/(?:trials/)?([^/]+)/([^/]+)/[^/]+", Path(folder).as_posix())
    return (found[1], found[2]) if found else None


def parse_checkpoint(folder: str | Path) -> RunPath | None:
    """The pretraining run whose checkpoint `folder` is, by its name; None for a folder elsewhere."""
    found = re.search(r"([^/]+)/pretrain/([^/]+)/seed(\d+)/checkpoint$", Path(folder).absolute().as_posix())
    return pretraining(found[1], found[2], int(found[3])) if found else None
