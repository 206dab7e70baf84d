"""What an open_clip_config.json says of its model: the fields that change the computation are honoured or refused.

A field of the image tower that cannot be had here is an error; one of the text tower leaves that tower out, with the
reason in the key ledger. Source: mlfoundations/open_clip src/open_clip/model.py (CLIPVisionCfg, CLIPTextCfg).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backbones.convert.openai_text import EPS
from engine.errors import UserError

# Fields that change nothing here: sizes that tensors have, what training does, where weights and tokens come from.
FREE_VISION = {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "patch_dropout",
               "output_tokens", "norm_kwargs", "timm_model_name", "timm_model_pretrained", "timm_drop",
               "timm_drop_path", "timm_pool", "timm_proj", "timm_proj_bias",
               "attn_pooler_queries", "attn_pooler_heads"}  # fmt: skip
FREE_TEXT = {"context_length", "vocab_size", "tokenizer_mode", "tokenizer_kwargs", "hf_tokenizer_name", "width",
             "heads", "layers", "output_tokens", "no_causal_mask", "norm_kwargs", "hf_model_pretrained", "pad_id",
             "eos_id", "hf_proj_type", "hf_pooler_type"}  # fmt: skip
# Values that mean what the towers here do; any other field or value changes the computation.
BOTH = {"act_kwargs": (None, {}), "block_type": (None, "default"), "ls_init_value": (None,)}
VISION = {**BOTH, "pool_type": ("tok",), "no_ln_pre": (True, False), "pos_embed_type": ("learnable",)}
TEXT = {**BOTH, "pool_type": ("argmax",), "proj_type": ("linear",), "hf_model_name": (None,), "mlp_ratio": (4, 4.0)}
VISION_EPS = (1e-5, 1e-6)  # those of timm's two kinds of ViT
TRUNK_POOLS = ("", "avg", "token", "map", "max", "avgmax")  # a timm model's own


def open_clip_options(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Arguments of `open_clip.convert` from its configuration, whose left-out values are open_clip's own.

    Raises:
        UserError: no configuration of open_clip's, or an image tower that cannot be had here.
    """
    model = config.get("model_cfg", config)
    try:
        vision, text = dict(model["vision_cfg"]), dict(model["text_cfg"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path} has no vision_cfg and text_cfg; is it open_clip's?") from None
    options: dict[str, Any] = {
        "quick_gelu": model.get("quick_gelu", False), "causal": not text.get("no_causal_mask", False),
        "text_heads": text.get("heads", 8), "text_eps": _epsilon(text), "text_reason": _odd(text, TEXT, FREE_TEXT),
    }  # fmt: skip
    reason = _odd(vision, VISION, FREE_VISION)
    if reason is None and "timm_model_name" in vision and vision.get("timm_pool", "avg") not in TRUNK_POOLS:
        reason = f"timm_pool={vision['timm_pool']}"
    if reason is None and _epsilon(vision) not in VISION_EPS:
        reason = f"norm_kwargs={vision['norm_kwargs']}"
    if reason is not None:
        raise UserError(f"{path}: vision_cfg has {reason}, which no encoder here computes; take another model")
    if "timm_model_name" in vision:
        pool = vision.get("timm_pool", "avg")
        return {**options, "trunk": vision["timm_model_name"], "size": vision.get("image_size", 224), "pool": pool}
    heads = vision.get("width", 768) // vision.get("head_width", 64)
    return {**options, "heads": heads, "eps": _epsilon(vision), "pre_norm": not vision.get("no_ln_pre", False)}


def _odd(part: Mapping[str, Any], known: Mapping[str, tuple[Any, ...]], free: set[str]) -> str | None:
    """The first field, with its value, that changes the computation."""
    for key, value in part.items():
        if key in free or (value in known[key] if key in known else value in (None, False)):
            continue
        return f"{key}={value}"
    return "norm_kwargs other than eps" if set(part.get("norm_kwargs") or {}) - {"eps"} else None


def _epsilon(part: Mapping[str, Any]) -> float:
    """Epsilon of a tower's norms."""
    return float((part.get("norm_kwargs") or {}).get("eps", EPS))
