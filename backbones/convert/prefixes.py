"""Prefixes that training wrappers put before every key, and the way back from bare keys to those of the file."""

from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import replace

from torch import Tensor

from backbones.convert import PLUS, Converted

# of DistributedDataParallel and torch.compile, and what frameworks and people call the network that they wrap
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "network.")
MASK = "encoder.mask_token"


def of_masked(keys: Collection[str]) -> bool:
    """Whether keys are those of an encoder with a mask token, as SimMIM writes it, and at most of its decoder."""
    return MASK in keys and all(key.startswith(("encoder.", "decoder.")) for key in keys)


def strip(
    state: Mapping[str, Tensor], own: Callable[[], Set[str]] = frozenset, named: bool = False
) -> tuple[dict[str, Tensor], dict[str, str], dict[str, str]]:
    """(state without the wrappers' prefixes, bare key -> key of the file, key of the file -> why it is set aside).

    A prefix goes only if every key has it, and none where a key is one of the model's `own`, all of which may begin so;
    these are asked for where a prefix is. Where the encoder is `named`, decoder and mask token of a file in SimMIM's
    layout are set aside first; else the layout tells that it is SimMIM's.
    """
    origin = {key: key for key in state}
    aside: dict[str, str] = {}
    while True:
        if named and of_masked(origin):
            aside = {source: "of pretraining alone" for key, source in origin.items()
                     if key == MASK or key.startswith("decoder.")}  # fmt: skip
            origin = {key: source for key, source in origin.items() if source not in aside}
        prefix = next((p for p in PREFIXES if origin and all(key.startswith(p) for key in origin)), None)
        if prefix is None or not own().isdisjoint(origin):
            return {key: state[source] for key, source in origin.items()}, origin, aside
        origin = {key.removeprefix(prefix): source for key, source in origin.items()}


def restore(converted: Converted, origin: Mapping[str, str], aside: Mapping[str, str] | None = None) -> Converted:
    """The conversion of bare keys as one of the file's own keys."""

    def back(text: str) -> str:
        return PLUS.join(origin[key] for key in text.split(PLUS))

    return replace(
        converted,
        renamed={target: back(source) for target, source in converted.renamed.items()},
        dropped={back(source): reason for source, reason in converted.dropped.items()} | dict(aside or {}),
    )
