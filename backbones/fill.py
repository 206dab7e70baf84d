"""Put a checkpoint's encoder into a task's configuration: the right adapter and every number that depends on it."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from backbones.checkpoint import checkpoint_exists, missing_checkpoint_message, read_checkpoint
from backbones.encoder import encoder_facts
from backbones.facts import EncoderFacts, check_pyramid
from backbones.pyramid import kind_of
from backbones.vit_pyramid import default_levels
from engine.config import ENCODER, fill
from engine.errors import UserError

POOLED = "PooledEncoder"  # serves both kinds of encoders, and is no pyramid
HEAD_CHANNELS = 512
"""Width of UperNet's head on hierarchical encoders (Swin's and mmseg's own configs)."""


def fill_encoder_parts(
    cfg: Config,
    checkpoint: str | Path,
    drop_path_rate: float | None = None,
    *,
    method: str | None = None,
    scale: str | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Bind the encoder of a checkpoint to `cfg` in place.

    * `model.backbone`: type and checkpoint are set; arguments already stated there (taps, final_norm, norm_cfg,
      drop_path_rate) are kept; pyramid=False is dropped for a hierarchical encoder, whose last map is its last stage,
      and so is relative_bias, which belongs to absolute positions.
    What is marked "<encoder>" is filled:

    * `in_channels` of neck, decode_head and auxiliary_head: from the adapter, or from the neck for heads
      behind one, chosen by the head's `in_index`.
    * `channels` of decode_head: the width of a plain ViT, as UperNet is published on it (768 for B, 1024 for
      L); HEAD_CHANNELS on a hierarchical encoder.
    * `feature_stride` of a depth head: the stride of the map that its `in_index` chooses.
    * `strides` of rpn_head's anchor generator: one per output of the neck; `featmap_strides` of the RoI
      extractors: the adapter's four.
    * `mean` and `std` of data_preprocessor: the checkpoint's, times 255. Other stated numbers are refused,
      unless `cfg.image_constants` is "recipe": then a published recipe's own numbers stand in their place.
    * `cfg.refused_encoders` {"plain" or "hierarchical": what to do instead}: encoders that a recipe is not for.

    Args:
        cfg: Configuration of a task.
        checkpoint: Checkpoint folder.
        drop_path_rate: Replaces the configuration's, if not None.
        method: Pretraining method, for the message when the folder is missing (else read off its path).
        scale: Likewise.
        seed: Likewise.

    Returns:
        The checkpoint's meta data.

    Raises:
        UserError: a missing or refused checkpoint, an encoder that the recipe refuses, another adapter or other image
            constants stated in `cfg`.
    """
    if not checkpoint_exists(checkpoint):
        raise UserError(missing_checkpoint_message(checkpoint, method, scale, seed))
    meta = read_checkpoint(checkpoint)
    facts = encoder_facts(**meta["encoder"])
    if (cfg.model.get("backbone") or {}).get("type") != POOLED:
        check_pyramid(meta["encoder"]["name"], facts)
    kind = "plain" if facts.plain else "hierarchical"
    if kind in cfg.get("refused_encoders", {}):
        raise UserError(
            f"{checkpoint} holds a {kind} encoder ({meta['encoder']['name']}), which this recipe is not for: "
            f"{cfg.refused_encoders[kind]}"
        )
    model = cfg.model
    _fill_backbone(model, str(checkpoint), facts, drop_path_rate)
    channels, strides = _levels(facts, model.backbone.get("pyramid", True))
    _fill_channels(model, channels)
    head = model.get("decode_head") or {}
    fill(head, ENCODER, {"channels": channels[0] if facts.plain else HEAD_CHANNELS})
    _fill_strides(model, strides)
    _fill_image_constants(cfg, meta)
    return meta


def _levels(facts: EncoderFacts, pyramid: bool) -> tuple[list[int], list[int | float]]:
    """Channels and strides of the adapter's four maps."""
    if facts.plain:
        patch = facts.strides[0]
        strides = [patch * level for level in default_levels(patch)] if pyramid else [Fraction(patch)] * 4
        return [facts.channels[0]] * 4, [int(s) if s.denominator == 1 else float(s) for s in strides]
    return [facts.channels[stage] for stage in facts.stages], [facts.strides[stage] for stage in facts.stages]


def _fill_backbone(model: ConfigDict, checkpoint: str, facts: EncoderFacts, drop_path_rate: float | None) -> None:
    stated = dict(model.get("backbone") or {})
    kind = POOLED if stated.get("type") == POOLED else kind_of(facts)
    if stated.get("type", kind) != kind:
        raise UserError(f"model.backbone.type is {stated['type']}, but {checkpoint} needs {kind}; leave the type out")
    if not facts.plain:
        stated.pop("pyramid", None)
        stated.pop("relative_bias", None)
    if drop_path_rate is not None:
        stated["drop_path_rate"] = drop_path_rate
    model.backbone = ConfigDict({**stated, "type": kind, "checkpoint": checkpoint})


def _fill_channels(model: ConfigDict, channels: list[int]) -> None:
    """Fill `in_channels`; heads behind a neck see its outputs."""
    neck = model.get("neck")
    if neck:
        fill(neck, ENCODER, {"in_channels": channels})
        if "out_channels" in neck:
            channels = [neck.out_channels] * neck.get("num_outs", len(channels))
    for name in ("decode_head", "auxiliary_head"):
        heads = model.get(name) or []
        for head in heads if isinstance(heads, list | tuple) else [heads]:
            index = head.get("in_index", -1)
            seen = channels[index] if isinstance(index, int) else [channels[i] for i in index]
            fill(head, ENCODER, {"in_channels": seen})


def _fill_strides(model: ConfigDict, strides: list[int | float]) -> None:
    """Fill strides; levels beyond the four double the last."""
    head = model.get("decode_head") or {}
    if "feature_stride" in head:
        fill(head, ENCODER, {"feature_stride": strides[head.in_index]})
    levels = (model.get("neck") or {}).get("num_outs", 4)
    pyramid = [*strides, *(strides[-1] * 2**extra for extra in range(1, levels - 3))][:levels]
    fill(model.get("rpn_head"), ENCODER, {"strides": pyramid})
    fill(model.get("roi_head"), ENCODER, {"featmap_strides": list(strides)})


def _fill_image_constants(cfg: Config, meta: dict[str, Any]) -> None:
    """Fill mean and std, and refuse others than the checkpoint's."""
    places = [place.get("data_preprocessor") for place in (cfg.model, cfg)]
    if not any(places):
        raise UserError(
            'the configuration has no model.data_preprocessor; state its type, and mean and std as "<encoder>"'
        )
    for preprocessor in filter(None, places):
        for key in ("mean", "std"):
            wanted = [255 * value for value in meta["image"][key]]
            stated = preprocessor.get(key)
            if stated == ENCODER:
                preprocessor[key] = wanted
            elif cfg.get("image_constants") == "recipe":
                continue
            elif len(stated) != 3 or not all(
                math.isclose(a, b, abs_tol=0.01) for a, b in zip(stated, wanted, strict=True)
            ):
                raise UserError(
                    f"data_preprocessor.{key} is {list(stated)}, but the encoder was pretrained with "
                    f'{[round(value, 3) for value in wanted]}; set it to "<encoder>" to take the checkpoint\'s'
                )
