"""Which keys of a file are the encoder's: what wrappers put before all of them, what a user names, and the way back."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from fnmatch import fnmatchcase

from backbones.convert import PLUS, Converted
from engine.errors import UserError, some

# of DistributedDataParallel and torch.compile, and what frameworks and people call the network that they wrap
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "network.")
MASK = "encoder.mask_token"


class Below(Exception):
    """The encoder's keys stand below each of these prefixes of the keys that a format was given."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        super().__init__(prefixes)
        self.prefixes = prefixes

    def refusal(self, origin: Mapping[str, str]) -> UserError:
        """The sentence for people, with the file's own prefixes, by (key that the format was given -> the file's)."""
        whole = []
        for prefix in self.prefixes:
            key = next((key for key in origin if key.startswith(prefix)), prefix)  # a format may have renamed all
            whole.append(origin.get(key, key).removesuffix(key.removeprefix(prefix)))
        return UserError(f"the encoder's keys stand below {' and '.join(whole)} here; say which by --options "
                         f"prefix={whole[0]}, and the rest is left out")  # fmt: skip


def of_masked(keys: Collection[str]) -> bool:
    """Whether keys are those of an encoder with a mask token, as SimMIM writes it, and at most of its decoder."""
    return MASK in keys and all(key.startswith(("encoder.", "decoder.")) for key in keys)


def part(
    keys: Iterable[str], prefix: str = "", drop: str | Sequence[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """The part of a file that its user names: (key without `prefix` -> key of the file, key of the file -> why not).

    Args:
        keys: The file's.
        prefix: What the encoder's keys begin with, before or after the wrappers' prefixes came off; its last dot may
            be left out.
        drop: Patterns, with *, of keys that are no part of the encoder: as they stand below `prefix`, or without the
            wrappers' prefixes there.

    Raises:
        UserError: a prefix or a pattern that fits no key.
    """
    patterns = [*drop] if isinstance(drop, list | tuple) else [drop]
    if type(prefix) in (int, float) and float(prefix).is_integer():  # "0." of nn.Sequential, as a command line reads it
        prefix = str(int(prefix))
    for name, word in [("prefix", prefix), *(("drop", pattern) for pattern in patterns)]:
        if not isinstance(word, str):
            raise UserError(
                f"{name} is a word of keys, as in prefix=module.encoder_q. drop=fc.*,queue*; {word!r} is none"
            )
    prefix = f"{prefix.removesuffix('.')}." if prefix else ""
    origin = {key: key for key in keys}
    if not any(key.startswith(prefix) for key in origin):
        origin = strip(origin)[0]
    found = {key.removeprefix(prefix): source for key, source in origin.items() if key.startswith(prefix)}
    if not found and prefix:
        beginnings = sorted({"".join(key.partition(".")[:2]) for key in origin})
        raise UserError(f"no key begins with prefix={prefix}; they begin with {some(beginnings)}")
    patterns = [pattern for pattern in patterns if pattern]
    bare = {source: key for key, source in strip(found)[0].items()} if patterns else {}
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
