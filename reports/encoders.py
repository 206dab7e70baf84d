"""Which encoders may stand in one table: those of one size, though each method has its own small switches.

BEiT and FD train a ViT with relative position bias, CAE one with LayerScale. At equal patch, width, depth, heads and
image size these are one encoder for the suite's question, and the switches are part of the method, so they share a
table, in which every departure is named.
"""

import json
import re
from collections import Counter
from typing import Any

PLAIN = re.compile(r"^(?:vit|beit|deit)(?:v\d)?_(tiny|small|base|large|huge)(?:_\w+?)?_patch(\d+)_?")
SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}  # width, blocks, heads by timm's names
# Arguments that regularise one pretraining and leave the encoder itself the same.
TRAINING_ONLY = {"drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate"}
SIZE = ("patch_size", "embed_dim", "depth", "num_heads", "img_size")


def call(encoder: dict[str, Any]) -> str:
    """The encoder's timm name with its arguments, those of regularisation left out."""
    arguments = ", ".join(f"{key}={json.dumps(value)}" for key, value in sorted(switches(encoder).items()))
    return f"{encoder['name']}({arguments})" if arguments else encoder["name"]


def switches(encoder: dict[str, Any]) -> dict[str, Any]:
    """timm's arguments of an encoder that change what it computes."""
    return {key: value for key, value in encoder["kwargs"].items() if key not in TRAINING_ONLY}


def size(encoder: dict[str, Any]) -> str:
    """What encoders of one table have in common: a plain ViT's size in words, or the whole call of any other."""
    named = PLAIN.match(encoder["name"])
    if not named:
        return call(encoder)
    width, depth, heads = SIZES[named[1]]
    trailing = re.search(r"_(\d+)$", encoder["name"])
    stated = {"patch_size": int(named[2]), "embed_dim": width, "depth": depth, "num_heads": heads,
              "img_size": int(trailing[1]) if trailing else 224}  # fmt: skip
    stated |= {key: value for key, value in encoder["kwargs"].items() if key in SIZE}
    return "plain ViT, patch {patch_size}, width {embed_dim}, {depth} blocks, {num_heads} heads, {img_size} px".format(
        **stated
    )


def departures(encoders: dict[str, dict[str, Any]]) -> str:
    """Name the rows whose encoder is not the most frequent one, with what differs; empty where all are alike.

    Args:
        encoders: row name -> {"name", "kwargs"}.
    """
    usual = Counter(call(encoder) for encoder in encoders.values()).most_common(1)[0][0]
    usual = next(encoder for encoder in encoders.values() if call(encoder) == usual)
    found = []
    for name, encoder in encoders.items():
        own, others = switches(encoder), switches(usual)
        different = {key: value for key, value in own.items() if others.get(key, object()) != value}
        missing = sorted(others.keys() - own.keys())
        parts = [] if encoder["name"] == usual["name"] else [encoder["name"]]
        parts += [f"{key}={json.dumps(value)}" for key, value in sorted(different.items())]
        parts += [f"without {key}" for key in missing]
        if parts:
            found.append(f"{name}: {', '.join(parts)}")
    return f"Encoders of one size differ in their switches: {'; '.join(found)}." if found else ""
