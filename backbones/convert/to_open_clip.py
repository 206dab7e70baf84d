"""The way out to open_clip: a folder that `open_clip.create_model("local-dir:FOLDER")` loads, every key by name.

A plain ViT becomes open_clip's own: what that lacks is moved, not lost (the bias of the patches goes into their
positions). Any other image tower becomes a timm tower, which open_clip builds by its name alone. A compact vocabulary
is spread over CLIP's ids again.
"""

from pathlib import Path
from typing import Any

import timm
import torch
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file
from timm.layers import get_act_layer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from backbones.checkpoint import load_encoder, load_text_state
from backbones.convert.openai_text import VOCABULARY, block_names
from engine import files
from engine.errors import UserError

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
BLOCK_EPS = 1e-6  # of text towers whose checkpoint does not say


def to_open_clip(folder: str | Path, out: str | Path) -> str:
    """Write a contrastive checkpoint as an open_clip folder; return the call that loads it.

    open_clip has one epsilon for all norms of a tower, so a text tower's last norm gets that of its blocks: in one
    trained here 1e-6 for 1e-5, which changes a feature by the share 4.5e-6 / (variance of the token before the norm).

    Args:
        folder: A checkpoint folder with a text tower.
        out: Folder to write.

    Raises:
        UserError: as `load_encoder`, no text tower or image projection, or a tower that open_clip cannot build.
    """
    encoder, meta, _ = load_encoder(folder)
    stored, _ = load_text_state(folder)
    if "image_projection.weight" not in stored:
        raise UserError(f"checkpoint {folder} ({meta['method']}) has no image projection, so no space to share")
    act = meta["text"]["kwargs"].get("act", "gelu")
    text_cfg, state = _text_tower(meta["text"], stored)
    if "image_projection.bias" not in stored and _is_plain(encoder, act):
        vision_cfg, vision = _vision_tower(encoder)
        vision["visual.proj"] = stored["image_projection.weight"].t()
    else:
        vision_cfg, vision = _timm_tower(encoder, meta, "image_projection.bias" in stored)
        for key in (key for key in stored if key.startswith("image_projection.")):
            vision[key.replace("image_projection.", "visual.head.proj.")] = stored[key]
    state |= {**vision, "logit_scale": stored["logit_scale"]}
    config = {
        "model_cfg": {
            "embed_dim": meta["text"]["embed_dim"], "quick_gelu": act == "quick_gelu", "custom_text": True,
            "vision_cfg": vision_cfg, "text_cfg": text_cfg,
        },
        "preprocess_cfg": {"mean": meta["image"]["mean"], "std": meta["image"]["std"]},
    }  # fmt: skip
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with files.atomic_path(out / WEIGHTS) as temporary:
        save_file({key: value.contiguous() for key, value in state.items()}, temporary)
    files.write_json(out / CONFIG, config)
    return f"open_clip.create_model('local-dir:{out}')"


def _text_tower(text: dict[str, Any], stored: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(text_cfg, open_clip's "text.*")."""
    kwargs = text["kwargs"]
    names = block_names(kwargs["layers"], "text.transformer.resblocks.", "text.blocks.")
    names |= {name: name for name in ("text.positional_embedding", "text.ln_final.weight", "text.ln_final.bias")}
    state = {name: stored[key] for name, key in names.items()}
    state["text.text_projection"] = stored["text.projection.weight"].t()
    table = stored["text.token_embedding.weight"]
    if text["vocabulary"] == "clip":
        state["text.token_embedding.weight"] = table[:VOCABULARY]
    else:
        encoder = SimpleTokenizer().encoder
        rows = torch.full((VOCABULARY,), len(text["vocabulary"]))  # the unknown token
        rows[torch.tensor([encoder[token] for token in text["vocabulary"]])] = torch.arange(len(text["vocabulary"]))
        state["text.token_embedding.weight"] = table[rows]
    config = {
        "context_length": kwargs["context"], "vocab_size": VOCABULARY, "width": kwargs["width"],
        "heads": kwargs["heads"], "layers": kwargs["layers"], "no_causal_mask": not kwargs.get("causal", True),
        "norm_kwargs": {"eps": kwargs.get("eps", BLOCK_EPS)},
    }  # fmt: skip
    return config, state


def _is_plain(encoder: nn.Module, act: str) -> bool:
    """Whether open_clip's own ViT can be this encoder, with the text tower's activation."""
    if type(encoder) is not VisionTransformer or encoder.global_pool != "token" or encoder.attn_pool is not None:
        return False
    probe = torch.linspace(-4, 4, 9)  # GELU has several classes
    same_act = torch.allclose(encoder.blocks[0].mlp.act(probe), get_act_layer(act)()(probe))
    keys = {key.split(".", 2)[2] for key in encoder.state_dict() if key.startswith("blocks.")}
    usual = {new.split(".", 2)[2] for new in block_names(1, "", "blocks.").values()}
    norms = {module.eps for module in encoder.modules() if isinstance(module, nn.LayerNorm)}
    outside = {key for key in encoder.state_dict() if not key.startswith(("blocks.", "norm.", "norm_pre."))}
    known = {"cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    return (
        same_act and keys == usual and _is_square(encoder) and len(norms) == 1
        and "cls_token" in outside <= known and isinstance(encoder.norm, nn.LayerNorm)
    )  # fmt: skip


def _is_square(encoder: VisionTransformer) -> bool:
    """Whether the positions are those of the class token and a square of patches."""
    rows, columns = encoder.patch_embed.grid_size
    return rows == columns and encoder.pos_embed is not None and encoder.pos_embed.shape[1] == 1 + rows * columns


def _vision_tower(encoder: VisionTransformer) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(vision_cfg, open_clip's "visual.*" without the projection) of a plain ViT."""
    state, depth, block = encoder.state_dict(), len(encoder.blocks), encoder.blocks[0]
    names = block_names(depth, "visual.transformer.resblocks.", "blocks.")
    pre = "norm_pre.weight" in state
    for part in ("weight", "bias"):
        names[f"visual.ln_post.{part}"] = f"norm.{part}"
        names |= {f"visual.ln_pre.{part}": f"norm_pre.{part}"} if pre else {}
    result = {name: state[key] for name, key in names.items()}
    positions = state["pos_embed"][0].clone()
    if "patch_embed.proj.bias" in state:
        positions[1:] += state["patch_embed.proj.bias"]
    result |= {
        "visual.conv1.weight": state["patch_embed.proj.weight"], "visual.positional_embedding": positions,
        "visual.class_embedding": state["cls_token"].flatten(),
    }  # fmt: skip
    width = encoder.embed_dim
    config = {
        "image_size": encoder.patch_embed.img_size[0], "patch_size": encoder.patch_embed.patch_size[0],
        "layers": depth, "width": width, "head_width": width // block.attn.num_heads,
        "mlp_ratio": (block.mlp.fc1.out_features + 0.5) / width,  # cut to a whole number of channels again
        "no_ln_pre": not pre, "norm_kwargs": {"eps": encoder.norm.eps},
    }  # fmt: skip
    return config, result


def _timm_tower(encoder: nn.Module, meta: dict[str, Any], bias: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(vision_cfg, open_clip's "visual.trunk.*") of an encoder that its timm name says all about."""
    name, kwargs = meta["encoder"]["name"], meta["encoder"]["kwargs"]
    with torch.device("meta"):
        named = timm.create_model(name, num_classes=0)
    shapes = {key: value.shape for key, value in encoder.state_dict().items()}
    if set(kwargs) - {"img_size", "drop_path_rate"} or {k: v.shape for k, v in named.state_dict().items()} != shapes:
        raise UserError(
            f"open_clip builds {name} by its name alone, but this one has {', '.join(kwargs)}: --to timm keeps it"
        )
    config = {
        "timm_model_name": name, "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear",
        "timm_proj_bias": bias, "image_size": meta["image"]["size"],
    }  # fmt: skip
    return config, {f"visual.trunk.{key}": value for key, value in encoder.state_dict().items()}
