"""Which keys of a file are the encoder's: what wrappers put before all of them, what a user names, and the way back."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from fnmatch import fnmatchcase

from backbones.convert import PLUS, Converted
from engine.errors import UserError, some

# of DistributedDataParallel and torch.compile, and what frameworks and people call the network that they wrap
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "network.")
MASK = "encoder.mask_token"


def of_masked(keys: Collection[str]) -> bool:
    """Whether keys are those of an encoder with a mask token, as SimMIM writes it, and at most of its decoder."""
    return MASK in keys and all(key.startswith(("encoder.", "decoder.")) for key in keys)


def part(
    keys: Iterable[str], prefix: str = "", drop: str | Sequence[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """The part of a file that its user names: (key without `prefix` -> key of the file, key of the file -> why not).

    Args:
        keys: The file's.
        prefix: What the encoder's keys begin with, before or after the wrappers' prefixes came off.
        drop: Patterns, with *, of keys below both that are no part of the encoder.

    Raises:
        UserError: a prefix or a pattern that fits no key.
    """
    patterns = [*drop] if isinstance(drop, list | tuple) else [drop]
    if not all(isinstance(word, str) for word in (prefix, *patterns)):
        raise UserError(f"prefix={prefix!r} and drop={drop!r} are words of keys: prefix=module.encoder_q. drop=fc.*")
    origin = {key: key for key in keys}
    if not any(key.startswith(prefix) for key in origin):
        origin = strip(origin)[0]
    found = {key.removeprefix(prefix): source for key, source in origin.items() if key.startswith(prefix)}
    if not found and prefix:
        beginnings = sorted({key.partition(".")[0] + "." for key in origin})
        raise UserError(f"no key begins with prefix={prefix}; they begin with {some(beginnings)}")
    bare = {source: key for key, source in strip(found)[0].items()}
    dropped = {pattern: {key for key, source in found.items() if fnmatchcase(key, pattern)
                         or fnmatchcase(bare[source], pattern)} for pattern in patterns}  # fmt: skip
    if idle := [pattern for pattern, fitting in dropped.items() if not fitting]:
        raise UserError(f"drop={idle[0]} fits no key of {some(found)}")
    kept = {key: source for key, source in found.items() if not any(key in fitting for fitting in dropped.values())}
    aside = dict.fromkeys(set(origin.values()) - set(found.values()), f"not below the prefix {prefix} that was stated")
    return kept, aside | {source: "dropped by its user's word" for key, source in found.items() if key not in kept}


def strip(
    origin: Mapping[str, str], own: Callable[[], Set[str]] = frozenset, named: bool = False
) -> tuple[dict[str, str], dict[str, str]]:
    """(key without the wrappers' prefixes -> key of the file, key of the file -> why it is set aside).

    A prefix goes only if every key has it, and none where a key is one of the model's `own`, all of which may begin so;
    these are asked for where a prefix is. Where the encoder is `named`, decoder and mask token of a file in SimMIM's
    layout are set aside first; else the layout tells that it is SimMIM's.
    """
    origin, aside = dict(origin), {}
    while True:
        if named and of_masked(origin):
            aside = {source: "of pretraining alone" for key, source in origin.items()
                     if key == MASK or key.startswith("decoder.")}  # fmt: skip
            origin = {key: source for key, source in origin.items() if source not in aside}
        prefix = next((p for p in PREFIXES if origin and all(key.startswith(p) for key in origin)), None)
        if prefix is None or not own().isdisjoint(origin):
            return origin, aside
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
