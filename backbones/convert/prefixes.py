"""Prefixes that training wrappers put before every key, and the way back from bare keys to those of the file."""

from collections.abc import Callable, Mapping, Set
from dataclasses import replace

from torch import Tensor

from backbones.convert import PLUS, Converted

# of DistributedDataParallel and torch.compile, and what frameworks and people call the network that they wrap
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "network.")


def strip(
    state: Mapping[str, Tensor], own: Callable[[], Set[str]] = frozenset
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(state without the wrappers' prefixes, bare key -> key of the file); a prefix goes only if every key has it, and
    none where a key is one of the model's `own`, all of which may begin so; these are asked for where a prefix is."""
    origin = {key: key for key in state}
    while prefix := next((p for p in PREFIXES if origin and all(key.startswith(p) for key in origin)), None):
        if not own().isdisjoint(origin):
            break
        origin = {key.removeprefix(prefix): source for key, source in origin.items()}
    return {key: state[source] for key, source in origin.items()}, origin


def restore(converted: Converted, origin: Mapping[str, str]) -> Converted:
    """The conversion of bare keys as one of the file's own keys."""

    def back(text: str) -> str:
        return PLUS.join(origin[key] for key in text.split(PLUS))

    return replace(
        converted,
        renamed={target: back(source) for target, source in converted.renamed.items()},
        dropped={back(source): reason for source, reason in converted.dropped.items()},
    )
