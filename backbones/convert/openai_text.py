"""The text tower in the names of OpenAI's CLIP, as `backbones.text` holds it; SLIP and open_clip use them too.

Source: openai/CLIP clip/model.py, mlfoundations/open_clip src/open_clip/transformer.py.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.convert.keys import Keys
from engine.errors import UserError

VOCABULARY = 49408  # CLIP's byte pairs
EPS = 1e-5  # of all norms, torch's own default
BLOCK = {"ln_1": "norm1", "attn.out_proj": "attn.proj", "ln_2": "norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
PARTS = r"(token_embedding\.|positional_embedding$|transformer\.|ln_final\.|text_projection|attn_mask$)"


def block_names(count: int, source: str, target: str) -> dict[str, str]:
    """Key of the file -> key here, of `count` residual blocks that start with `source` and `target`."""
    names = {}
    for i in range(count):
        for old, new in BLOCK.items():
            for part in ("weight", "bias"):
                names[f"{source}{i}.{old}.{part}"] = f"{target}{i}.{new}.{part}"
        for part in ("weight", "bias"):
            names[f"{source}{i}.attn.in_proj_{part}"] = f"{target}{i}.attn.qkv.{part}"
    return names


def text_tower(
    keys: Keys,
    act: str,
    heads: int | None = None,
    causal: bool = True,
    prefix: str = "",
    eps: float = EPS,
    reason: str | None = None,
) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """Take the text tower out of `keys`.

    Args:
        keys: Book of the file's keys.
        act: "gelu" or "quick_gelu".
        heads: Attention heads; a 64th of the width, as in all published towers, where none is given.
        causal: Whether a token sees only those before it.
        prefix: What stands before the names: "" at the root, "text." in open_clip's models with a text module.
        eps: Of the blocks' norms; the last norm has 1e-5.
        reason: Why the tower is not kept, if its configuration says so.

    Returns:
        ("text" of checkpoint.json, "text.*" tensors); (None, {}) with the keys dropped where `TextTower` cannot hold
        the tower. The one row that the file lacks, the embedding of [MASK], is zero.

    Raises:
        UserError: a width whose number of heads is not known.
    """
    reason = reason or _unfit(keys, prefix)
    if reason:
        keys.drop_all(prefix or PARTS, reason)
        return None, {}
    width = keys[f"{prefix}ln_final.weight"].numel()
    layers = len(keys.named(rf"{prefix}transformer\.resblocks\.\d+\.ln_1\.weight$"))
    if heads is None and width % 64:
        raise UserError(f"the text tower is {width} wide, which no published one is; state its heads by text_heads=N")
    linear = f"{prefix}text_projection.weight" in keys
    names = block_names(layers, f"{prefix}transformer.resblocks.", "text.blocks.")
    names |= {f"{prefix}ln_final.{part}": f"text.ln_final.{part}" for part in ("weight", "bias")}
    names[f"{prefix}positional_embedding"] = "text.positional_embedding"
    state = {target: keys.take(name, target) for name, target in names.items()}
    target = "text.token_embedding.weight"
    state[target] = keys.take(f"{prefix}token_embedding.weight", target, lambda table: F.pad(table, (0, 0, 0, 1)))
    target = "text.projection.weight"
    name = f"{prefix}text_projection"
    state[target] = keys.take(f"{name}.weight", target) if linear else keys.take(name, target, torch.t)
    if f"{prefix}attn_mask" in keys:
        keys.drop(f"{prefix}attn_mask", "the causal mask, which the tower makes itself")
    kwargs = {"context": len(state["text.positional_embedding"]), "width": width, "layers": layers}
    kwargs |= {"heads": heads or width // 64, "act": act, "eps": eps, "causal": causal}
    return {"kwargs": kwargs, "vocabulary": "clip", "embed_dim": len(state[target])}, state


def _unfit(keys: Keys, prefix: str) -> str | None:
    """Why `TextTower` cannot hold the tower, or None."""
    table = f"{prefix}token_embedding.weight"
    if table not in keys or f"{prefix}ln_final.weight" not in keys:
        return "the text tower is not CLIP's transformer, so only the image tower is kept"
    if len(keys[table]) != VOCABULARY:
        return f"the text tower has {len(keys[table])} tokens, not CLIP's, so only the image tower is kept"
    if f"{prefix}text_projection.bias" in keys or f"{prefix}cls_emb" in keys:
        return "the text tower has a projection bias or a class token, so only the image tower is kept"
    return None
