"""A file of any timm model: in timm's keys, or in those of its authors where timm's own filter knows them.

Keys tell neither the model nor its normalisation, so the user names the model, such as
`model=vit_base_patch16_224.augreg_in21k`: timm's own description of that tag gives mean, std and size. Without a tag
they have to be stated, since weights of one architecture were trained with several. A hub folder of timm's says it all.

Official files (Meta's DINOv2 and DINOv3, ConvNeXt, Swin, ...) go through `checkpoint_filter_fn` of the model's module
in timm, the function that timm's own downloads go through.
"""

import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from backbones.convert import PLUS, Converted
from backbones.convert.prefixes import Below
from backbones.convert.torchvision_names import names_of
from backbones.convert.trace import traced
from backbones.convert.vit import has_fixed_positions, is_plain
from backbones.encoder import OWN_ARGUMENTS, build_encoder
from engine.errors import UserError, some

CLASSIFIER = "dropped: classifier"
LAST_NORM = {"head.norm.weight": 1.0, "head.norm.bias": 0.0}  # of ConvNeXt V2, and where a norm begins
# What timm's filters leave out though it is no zero: parts of pretraining, and tables that a model makes itself.
NO_WEIGHTS = ("mask_token", "rope", "periods", "bias_mask", "relative_position_index", "relative_coords_table",
              "attn_mask", "projector", "local_cls_norm", "lm_head", "pre_logits", "decoder",
              "num_batches_tracked")  # fmt: skip


def matches(state: Mapping[str, Tensor]) -> bool:
    """A plain ViT, with or without a classifier, that only its user can tell from those of DINO, DeiT or MAWS."""
    rest = {key: value for key, value in state.items() if not key.startswith("head.")}
    return is_plain(rest) and not has_fixed_positions(rest)


def convert(
    state: Mapping[str, Tensor],
    model: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> Converted:
    """Convert a state dict of timm's `model`, with or without its classifier.

    Args:
        state: The file's tensors.
        model: timm's name, with the tag of the weights if they are timm's.
        mean, std: RGB, for images in 0..1; needed where `model` has no tag.
        size: Pixels per side in pretraining; by default the tag's, or that of the positions in the file.
        kwargs: The architecture's own arguments, where they are not the default.

    Raises:
        UserError: no or an unknown model, no mean and std, or a tensor that timm's filter would lose or resample.
    """
    if model is None:
        raise UserError("a timm state dict does not say which model it is; say timm:NAME.TAG@FILE, or state it by "
                        "model=NAME.TAG")  # fmt: skip
    name, tagged = model.split(".")[0], "." in model
    own = {key: value for key, value in (kwargs or {}).items() if key not in OWN_ARGUMENTS}
    with torch.device("meta"):
        reference = build_encoder(name, own)
    facts = _facts_of(model, name)
    if not tagged and (mean is None or std is None):
        raise UserError(
            f"model={model} has no tag, and weights of one architecture were trained with different normalisations; "
            "state model=NAME.TAG, or mean=R,G,B std=R,G,B (for images in 0..1)"
        )
    grid = _image_size(state, reference)
    if grid is not None:
        own["img_size"] = grid
        with torch.device("meta"):
            reference = build_encoder(name, own)
    wanted = reference.state_dict()
    _require_bare(state, wanted)
    classifier = _classifier_keys(name, own)
    found, sources = _filtered(state, reference, wanted, classifier)
    _require_own_sizes(state, found, sources)
    classifier |= _published_classifier(facts, found)
    kept = {key: value for key, value in found.items() if key not in classifier and sources[key]}
    if (others := [key for key in kept if key not in wanted]) and set(wanted) <= set(kept):
        raise UserError(f"{name} has no place for {some(others)}, and the other keys fill it; where they belong to its "
                        "pretraining, say so by --options drop=PATTERN, or drop=PATTERN,PATTERN")  # fmt: skip
    used = {source for key in kept for source in sources[key]}
    dropped = {source: CLASSIFIER for key in found if key in classifier for source in sources[key]}
    dropped = {key: reason for key, reason in dropped.items() if key not in used}
    dropped |= _left_out(state, used | set(dropped), model)
    renamed = {key: PLUS.join(sources[key]) for key in kept}
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked") and key not in kept}
    kept |= {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in counters.items()}
    norms = LAST_NORM if facts.tag == "fcmae" and LAST_NORM.keys().isdisjoint(kept) else {}
    kept |= {key: torch.full(wanted[key].shape, fill) for key, fill in norms.items()}
    image = {"mean": rgb(mean or facts.mean), "std": rgb(std or facts.std)}
    image["size"] = size or grid or own.get("img_size") or facts.input_size[-1]
    new = dict.fromkeys(counters, "counts batches, which files of PyTorch before 0.4.1 do not, and no result needs")
    new |= dict.fromkeys(norms, "FCMAE pretrains no norm behind the last stage; it begins as a norm does")
    return Converted({"name": name, "kwargs": own}, kept, renamed, image, "timm", dropped, new)


def own_keys(options: Mapping[str, Any]) -> frozenset[str]:
    """The keys of the model that options name; none where they name none that can be built, as `convert` tells."""
    name = str(options.get("model", "")).split(".")[0]
    if not timm.is_model(name):
        return frozenset()
    try:
        own = {key: value for key, value in (options.get("kwargs") or {}).items() if key not in OWN_ARGUMENTS}
        with torch.device("meta"):
            return frozenset(build_encoder(name, own).state_dict())
    except Exception:  # of whatever kind the options make
        return frozenset()


def rgb(values: Any) -> list[float]:
    """Three numbers, one a channel; UserError for anything else."""
    found = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    if len(found) != 3 or not all(isinstance(value, int | float) for value in found):
        raise UserError(f"mean and std are three numbers for images in 0..1, R,G,B; {values!r} is not")
    return [float(value) for value in found]


def _facts_of(model: str, name: str) -> Any:
    """timm's description of an architecture or of one of its tags."""
    try:
        return timm.get_pretrained_cfg(model)
    except RuntimeError:
        known = timm.list_pretrained(f"{name}.*")
        raise UserError(f"timm has no weights {model}; known tags: {', '.join(known) or 'none'}") from None


def _image_size(state: Mapping[str, Tensor], reference: nn.Module) -> int | None:
    """Pixels per side by the positions in the file, where they are not those of the model's default size."""
    table, own = state.get("pos_embed"), getattr(reference, "pos_embed", None)
    embedding = getattr(reference, "patch_embed", None)
    if table is None or own is None or table.ndim != own.ndim or not hasattr(embedding, "patch_size"):
        return None
    patch = embedding.patch_size[0]
    if table.ndim == 4:
        return table.shape[1] * patch if table.shape[1] != own.shape[1] else None
    cells = embedding.num_patches
    prefixes = (own.shape[1] - cells, getattr(reference, "num_prefix_tokens", 0), 1, 0)
    sides = [math.isqrt(max(table.shape[1] - prefix, 0)) for prefix in prefixes]
    fits = [side for side, prefix in zip(sides, prefixes, strict=True) if side and side**2 == table.shape[1] - prefix]
    return fits[0] * patch if fits and fits[0] ** 2 != cells else None


def _require_bare(state: Mapping[str, Tensor], own: Iterable[str]) -> None:
    """Refuse a file whose keys of the model stand below a prefix that other keys do not have."""
    wanted = [key for key in own if not key.endswith("num_batches_tracked")]
    if all(key in state for key in wanted):  # a copy of it may stand below a prefix
        return
    last = max(wanted, key=len)
    prefixes = sorted(key.removesuffix(last) for key in state if key.endswith(f".{last}"))
    if found := [prefix for prefix in prefixes if all(f"{prefix}{key}" in state for key in wanted)]:
        raise Below(found)


def _filtered(
    state: Mapping[str, Tensor], reference: nn.Module, wanted: Mapping[str, Tensor], classifier: set[str]
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """The state in timm's keys, and the source keys of each; a state of no other keys is left as it is."""
    change = names_of(state) or getattr(
        importlib.import_module(type(reference).__module__), "checkpoint_filter_fn", None
    )
    as_it_is = {key for key, value in wanted.items() if key in state and state[key].shape == value.shape}
    if change is None or (as_it_is == set(wanted) and set(state) <= as_it_is | classifier):
        return dict(state), {key: (key,) for key in state}
    try:
        found, sources = traced(lambda tensors: change(tensors, reference), state)
    except (KeyError, AttributeError, RuntimeError, IndexError, ValueError, AssertionError, TypeError) as error:
        raise UserError(
            f"timm's own filter of {type(reference).__name__} does not know these keys ({type(error).__name__}: "
            f"{str(error).splitlines()[0][:90] if str(error) else 'no message'}); is it a file of this model? What "
            "belongs to its pretraining alone is left out by --options drop=PATTERN"
        ) from None
    return found, sources


def _require_own_sizes(
    state: Mapping[str, Tensor], found: Mapping[str, Tensor], sources: Mapping[str, tuple[str, ...]]
) -> None:
    """Refuse tensors that the filter made larger or smaller without another taking the rest: it resampled them."""
    parts = [set(names) for names in sources.values()]
    for key, names in sources.items():
        whole = sum(state[name].numel() for name in names)
        shared = sum(not names_of.isdisjoint(names) for names_of in parts) > 1
        if names and found[key].numel() != whole and (not shared or found[key].numel() > whole):
            raise UserError(
                f"{', '.join(names)} has another grid than the model and would be resampled; name the model that has "
                "this grid, or state its arguments"
            )


def _classifier_keys(name: str, kwargs: Mapping[str, Any]) -> set[str]:
    """Keys that the model has with a classifier and not without."""
    with torch.device("meta"):
        without = timm.create_model(name, num_classes=0, **kwargs).state_dict()
        return set(timm.create_model(name, num_classes=2, **kwargs).state_dict()) - set(without)


def _published_classifier(facts: Any, found: Mapping[str, Tensor]) -> set[str]:
    """Keys of the classifier by timm's description."""
    names = [facts.classifier] if isinstance(facts.classifier, str) else list(facts.classifier or [])
    return {key for key in found if key.rpartition(".")[0] in names}


def _left_out(state: Mapping[str, Tensor], used: set[str], model: str) -> dict[str, str]:
    """Why timm's filter leaves out what it does.

    Raises:
        UserError: a weight that is not zero and no known part of pretraining.
    """
    dropped = {}
    for key in state:
        if key in used:
            continue
        value = state[key]
        if f"{key}_mask" in state:  # a mask that DINOv3 keeps beside the bias it multiplies
            value = torch.where(state[f"{key}_mask"] == 0, 0, value)
        if value.is_floating_point() and value.any() and not any(part in key for part in NO_WEIGHTS):
            raise UserError(
                f"{key} is no zero, and {model} has no place for it by timm's own filter; name the model that has one"
            )
        dropped[key] = f"timm's own filter of {model.split('.')[0]} leaves it out"
    return dropped
