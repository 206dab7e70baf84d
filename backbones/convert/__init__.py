"""Published checkpoints of others, turned into the suite's own: one module of this package for each foreign layout.

A format module has `matches(state) -> bool`, which recognises its layout, and `convert(state) -> Converted`. Any
other module here is a helper. A new format is a new file; nothing else has to be told of it.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from backbones.encoder import build_encoder, encoder_facts
from backbones.facts import check_pyramid
from backbones.ledger import Ledger, load_exactly
from engine.errors import UserError, some

PLUS = " + "  # between the source keys of `Converted.renamed` where several make one target
BARE = ("timm",)  # formats whose own keys never begin with a wrapper's prefix


@dataclass
class Converted:
    """What a format module makes of a foreign file.

    Attributes:
        encoder: {"name", "kwargs"} for `backbones.build_encoder`.
        state: timm key -> tensor (float32), for every key of that encoder.
        renamed: Target key -> the source key that it holds, or the keys joined by `PLUS`; also where the name is kept.
            Keys of the text tower are named as in `text_state`.
        dropped: Source key -> why it is not used.
        new: Target key -> why it is not in the source; its value still stands in `state` (or `text_state`).
        image: {"mean", "std", "size"} as in checkpoint.json.
        method: Method id, as in pretrain/configs where the suite has it.
        family: Family of methods ("clip", "dino", "mae", ...), where `families` cannot tell it by the method.
        text: What checkpoint.json says about the text tower (kwargs, vocabulary, embed_dim), or None.
        text_state: "text.*", "image_projection.weight" and "logit_scale" of a contrastive method, or None.
    """

    encoder: dict[str, Any]
    state: dict[str, Tensor]
    renamed: dict[str, str]
    image: dict[str, Any]
    method: str
    dropped: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    text: dict[str, Any] | None = None
    text_state: dict[str, Tensor] | None = None
    family: str | None = None

    def ledger(self) -> Ledger:
        """The conversion as a key ledger; a source key that fills several targets names them all, by commas."""
        targets: dict[str, list[str]] = {}
        for target, source in self.renamed.items():
            targets.setdefault(source, []).append(target)
        loaded = tuple(source for source, names in targets.items() if names == [source])
        renamed = {source: ", ".join(sorted(names)) for source, names in targets.items() if names != [source]}
        return Ledger(loaded, renamed, {}, dict(self.dropped), dict(self.new))


def formats() -> dict[str, ModuleType]:
    """Format name -> its module, in alphabetical order."""
    names = sorted(entry.name for entry in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "matches")}


def convert_source(path: str | Path, format: str = "auto", **options: Any) -> Converted:
    """Read a foreign file, recognise its layout, convert it, and account for every key of both sides.

    Args:
        path: What `source.read_source` reads, or a folder with its own configuration (`folder.read_folder`).
        format: Name of a format, or "auto" to recognise it.
        options: What the file does not tell and the format's `convert` takes by name (heads=12, quick_gelu=True);
            for every format that is named also prefix and drop, as `prefixes.part` takes them.

    Raises:
        UserError: an unreadable file, an unknown format or layout, a layout that several formats share, a source key
            without a place, a key that the encoder lacks or that it has more or in another shape.
    """
    from backbones.convert.folder import read_folder
    from backbones.convert.prefixes import part, restore, strip
    from backbones.convert.source import read_with_notes
    from backbones.convert.timm import own_keys

    image: dict[str, Any] = {}
    if Path(path).is_dir():
        tensors, notes, found, stated, image = read_folder(path)
        format, options = found if format == "auto" else format, {**stated, **options}
    else:
        tensors, notes = read_with_notes(path)
    whole = {key: _single_precision(key, value, path) for key, value in tensors.items()}
    if format == "auto" and (stated := [word for word in ("prefix", "drop") if word in options]):
        raise UserError(f"{path}: {stated[0]} takes a part of the file, which does not tell whose layout it is; name "
                        f"it by --format, or by timm:NAME.TAG@{path}")  # fmt: skip
    places = part(whole, options.pop("prefix", ""), options.pop("drop", ()))
    stripped, aside = strip(places[0], partial(own_keys, options), named=format == "timm")
    given, bare = ({key: whole[source] for key, source in origin.items()} for origin in (places[0], stripped))
    name, state = _recognise(path, given, bare) if format == "auto" else (format, None)
    if name not in formats():
        raise UserError(f"format {name!r} is unknown; give one of auto, {', '.join(formats())}")
    if state is None:
        state = bare if name in BARE or not formats()[name].matches(given) else given
    origin = stripped if state is bare else places[0]
    converted = _convert_by(name, state, options, origin, path)
    converted = restore(converted, origin, places[1] | aside if state is bare else places[1])
    check(converted, whole, f"{path} (format {name})")
    converted.image.update(image)
    converted.dropped.update(notes)
    return converted


def _convert_by(
    name: str, state: Mapping[str, Tensor], options: Mapping[str, Any], origin: Mapping[str, str], path: str | Path
) -> Converted:
    """The conversion by a format's module; `origin` has the file's own key for each of the state's.

    Raises:
        UserError: an option that the format does not take, or tensors and options that are not its own.
    """
    from backbones.convert.prefixes import Below

    convert = formats()[name].convert
    known = list(inspect.signature(convert).parameters)[1:]
    for option in options:
        if option not in known:
            raise UserError(
                f"format {name} takes no option {option!r}; it takes {', '.join([*known, 'prefix', 'drop'])}"
            )
    try:
        return convert(state, **options)
    except KeyError as error:
        raise UserError(
            f"{path}: {error.args[0]} is missing, which a file of format {name} has; is it whole?"
        ) from None
    except Below as error:
        raise error.refusal(origin) from None
    except UserError:
        raise
    except Exception as error:  # what tensors of other shapes, or options of other kinds, make of the arithmetic
        raise UserError(f"{path}: its tensors or options are not those of format {name} ({type(error).__name__}: "
                        f"{str(error)[:200]})") from error  # fmt: skip


def _single_precision(key: str, value: Tensor, path: str | Path) -> Tensor:
    """A tensor as float32 if it holds numbers with a point.

    Raises:
        UserError: a type of eight bits, which needs scales that stand elsewhere; a sparse or quantised tensor.
    """
    if value.layout != torch.strided or value.is_quantized:
        raise UserError(f"{path}: {key} is {'quantised' if value.is_quantized else 'sparse'}, and weights are read as "
                        "plain numbers; store it dense, in half or single precision")  # fmt: skip
    if not value.is_floating_point():
        return value
    if value.dtype.itemsize < 2:
        raise UserError(f"{path}: {key} is {value.dtype}, eight bits that mean nothing without their scales; take the "
                        "weights in half or single precision")  # fmt: skip
    return value.float()


def check(converted: Converted, source: Mapping[str, Tensor], what: str) -> None:
    """Require an encoder that can feed dense tasks, a use or a reason for each key of the source, and an encoder
    that is filled key by key, shape by shape.

    Raises:
        UserError: an encoder of one image size or without four maps; or naming the keys that are not accounted for.
    """
    check_pyramid(converted.encoder["name"], encoder_facts(**converted.encoder))
    used = {key for text in converted.renamed.values() for key in text.split(PLUS)}
    left = sorted(set(source) - used - set(converted.dropped))
    if left:
        raise UserError(f"{what}: no rule says what becomes of {some(left)}; is it the published file?")
    held = set(converted.state) | set(converted.text_state or {})
    unexplained = sorted(held ^ (set(converted.renamed) | set(converted.new)))
    if unexplained:
        raise UserError(f"{what}: {some(unexplained)} come from nowhere or are lost; correct the format's rules")
    with torch.device("meta"):
        encoder = build_encoder(**converted.encoder)
    for key, value in {**converted.state, **(converted.text_state or {})}.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(
                f"{what}: {key} holds numbers that are not finite; the file is damaged or its training failed"
            )
    load_exactly(encoder, {key: value.to("meta") for key, value in converted.state.items()}, what=what)


def _recognise(
    path: str | Path, whole: Mapping[str, Tensor], bare: Mapping[str, Tensor]
) -> tuple[str, Mapping[str, Tensor]]:
    """(format, the state it recognises): the keys as they are, or without the prefixes of training wrappers."""
    state, found = whole, [name for name, module in formats().items() if module.matches(whole)]
    if not found:
        state, found = bare, [name for name, module in formats().items() if module.matches(bare)]
    if not found:
        keys = some(sorted(state)) if state else "no tensors"
        raise UserError(f"{path}: no known layout ({keys}); if timm has the model, say timm:NAME.TAG@{path}, else "
                        "name one with --format, or as in mae:FILE where an encoder is asked for: "
                        f"{', '.join(formats())}")  # fmt: skip
    if len(found) > 1:
        model = f"; of timm's models by timm:NAME.TAG@{path}" if "timm" in found else ""
        raise UserError(f"{path}: {', '.join(found)} share this layout; say which it is by --format {found[0]}, or by "
                        f"{found[0]}:{path} where an encoder is asked for{model}")  # fmt: skip
    return found[0], state
