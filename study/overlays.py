"""Data overlays as far as a study must know them: their names and kinds, and which of them a method learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.catalogue import PRETRAIN, TASK
from engine.config import read
from engine.errors import UserError
from engine.provenance import REPOSITORY
from engine.run_path import place_of


@dataclass(frozen=True)
class DataSet:
    """An overlay with the name and the kind of its data; all None: the scale's own."""

    overlay: str | None = None
    name: str | None = None
    kind: str | None = None

    def serves(self, task: str) -> bool:
        """Whether a task can be done on it."""
        return self.kind is None or self.kind in TASK[task].kinds

    def place(self, scale: str) -> str:
        """Where the runs of a scale lie that read it."""
        return place_of(scale, self.name)


def read_overlay(path: str | Path) -> DataSet:
    """The data set of an overlay. UserError for none, or one without a name and a kind."""
    data = read(Path(path)).get("data")
    if not isinstance(data, Mapping) or not all(isinstance(data.get(key), str) for key in ("name", "kind")):
        raise UserError(f"{path} has no `data = dict(name=..., kind=...)` section: see README, 'Your own data'")
    return DataSet(str(path), data["name"], data["kind"])


def learned_from(method: str, overlays: Sequence[str]) -> str | None:
    """The first overlay whose kind of data offers what a method is pretrained on; None without overlays.

    Raises:
        UserError: none of them does, or as `read_overlay`.
    """
    if not overlays:
        return None
    import pretrain  # noqa: F401  registers the methods
    from pretrain.from_data import fitting_kinds, method_class

    kinds = fitting_kinds(method_class(read(REPOSITORY / PRETRAIN.config.format(method=method))["model"]["type"]))
    for overlay in overlays:
        if read_overlay(overlay).kind in kinds:
            return str(Path(overlay))
    raise UserError(
        f"{method} learns from data of kind {' or '.join(kinds)}, which none of {', '.join(overlays)} is: name another "
        "overlay in pretrain_data"
    )
