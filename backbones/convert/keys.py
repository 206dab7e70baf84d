"""The keys of a foreign state dict, and where each of them went: the book-keeping of the CLIP layouts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from backbones.convert import PLUS


class Keys:
    """A state dict whose tensors are taken or dropped one by one.

    Args:
        state: Key -> tensor.
        origin: Key -> the key it has in the file (several joined by PLUS); the key itself where none is given.

    Attributes:
        renamed, dropped, new: as in `backbones.convert.Converted`.
    """

    def __init__(self, state: Mapping[str, Tensor], origin: Mapping[str, str] | None = None) -> None:
        self.state = dict(state)
        self.origin = dict(origin or {key: key for key in state})
        self.renamed: dict[str, str] = {}
        self.dropped: dict[str, str] = {}
        self.new: dict[str, str] = {}

    @classmethod
    def without_module(cls, state: Mapping[str, Tensor]) -> Keys:
        """The keys without the "module." that a model wrapped for several GPUs puts before them."""
        origin = {key.removeprefix("module."): key for key in state}
        return cls({name: state[key] for name, key in origin.items()}, origin)

    def __contains__(self, name: str) -> bool:
        return name in self.state

    def __getitem__(self, name: str) -> Tensor:
        return self.state[name]

    def named(self, pattern: str) -> list[str]:
        """The keys that the regular expression matches from their start."""
        return [name for name in self.state if re.match(pattern, name)]

    def take(self, name: str, target: str, change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The tensor `name`, in float32, as it stands at `target`: a KeyError where the file has none."""
        value = self.state[name]
        value = value.float() if value.is_floating_point() else value
        self.renamed[target] = self.origin[name]
        return (change(value) if change else value).contiguous()

    def drop(self, name: str, reason: str) -> None:
        """Leave `name` out."""
        self.dropped.update(dict.fromkeys(self.origin[name].split(PLUS), reason))

    def drop_all(self, pattern: str, reason: str) -> None:
        """Leave out the keys that the regular expression matches from their start."""
        for name in self.named(pattern):
            self.drop(name, reason)
