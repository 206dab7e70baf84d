"""BEiT (microsoft/unilm, beit): the pretrained files (_pt22k) and the fine-tuned ones (_ft22k, _ft22kto1k).

timm's Beit has the same names, so keys stay as they are. Pretrained files have one table of relative positions for all
blocks, which stays one here (backbones/relative_positions.py gives each block its copy for fine-tuning), and a norm
behind the blocks; fine-tuned ones have a table in each block and `fc_norm` behind the pooling. Queries and values have
a bias, keys have none. The head count is the table's width, the grid follows from its length; LayerNorm's epsilon is
1e-6, as in timm's.

FD's fine-tuned files have the very same keys, so for those of 1000 classes the caller must say which it is. BEiT v2's
fine-tuned files have them too, but ImageNet's mean and standard deviation: they do not belong to this format.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from backbones.convert import Converted
from backbones.relative_positions import SHARED, TABLE
from engine.errors import UserError

IMAGE = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
INDEX = "numbers the table's rows, which follows from the grid"
DROP = {
    r"mask_token": "stands for hidden patches in pretraining only",
    r"lm_head\..*": "names visual tokens in pretraining only",
    r"head\..*": "classifies; an encoder ends before it",
    r".*\.relative_position_index": INDEX,
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the keys of BEiT: biases of queries and values, and relative positions."""
    return bare(state)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert BEiT's keys. UserError for a table that belongs to no square grid, KeyError for a missing key."""
    names, dropped = sort_keys(state, "", DROP)
    return beit_encoder(state, names, dropped, IMAGE, "beit")


def bare(state: Mapping[str, Tensor]) -> bool:
    """Whether a BEiT encoder stands in the file without a prefix."""
    tables = (SHARED, f"blocks.0.attn.{TABLE}")
    return "blocks.0.attn.q_bias" in state and any(table in state for table in tables)


def sort_keys(
    state: Mapping[str, Tensor], prefix: str, drop: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Sort the keys of a file into those of the encoder, which *start* with a prefix, and those that a rule drops.

    Args:
        state: The file.
        prefix: Of the encoder's keys.
        drop: Pattern of whole source keys -> reason.

    Returns:
        ({key without the prefix: source key}, {source key: reason}); other keys are in neither, and
        `backbones.convert.check` names them.
    """
    reasons = {key: next((why for rule, why in drop.items() if re.fullmatch(rule, key)), None) for key in state}
    dropped = {key: why for key, why in reasons.items() if why is not None}
    names = {key.removeprefix(prefix): key for key in state if key.startswith(prefix) and key not in dropped}
    return names, dropped


def beit_encoder(
    state: Mapping[str, Tensor],
    names: Mapping[str, str],
    dropped: dict[str, str],
    image: Mapping[str, Any],
    method: str,
) -> Converted:
    """Fill timm's Beit from a file whose encoder has BEiT's names.

    Args:
        state: The file.
        names: BEiT's name -> source key.
        dropped: Source key -> reason.
        image: {"mean", "std"} that the encoder was trained with.
        method: Method id.
    """
    shared = SHARED in names
    table = state[names[SHARED if shared else f"blocks.0.attn.{TABLE}"]]
    kwargs, size = sizes(state, names, table_side(len(table)))
    kwargs |= {
        "num_heads": table.shape[1],
        "use_abs_pos_emb": "pos_embed" in names,
        "use_rel_pos_bias": not shared,
        "use_shared_rel_pos_bias": shared,
        "use_fc_norm": "fc_norm.weight" in names,
    }
    name = "beit_large_patch16_224" if kwargs["embed_dim"] == 1024 else "beit_base_patch16_224"
    return Converted(
        encoder={"name": name, "kwargs": kwargs},
        state={name: state[key] for name, key in names.items()},
        renamed=dict(names),
        dropped=dropped,
        image={**image, "size": size},
        method=method,
    )


def sizes(state: Mapping[str, Tensor], names: Mapping[str, str], side: int) -> tuple[dict[str, Any], int]:
    """The encoder arguments that shapes tell, and the image's side in pixels, for a grid of `side` x `side` patches.

    LayerScale is switched on, which all published models of this family have; the value is where a training from
    scratch would begin.
    """
    patches, hidden = (state[names[key]] for key in ("patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"))
    width, patch = len(patches), patches.shape[-1]
    depth = 1 + max(int(name.split(".")[1]) for name in names if re.match(r"blocks\.\d+\.", name))
    arguments = {"img_size": side * patch, "patch_size": patch, "embed_dim": width, "depth": depth}
    return {**arguments, "mlp_ratio": len(hidden) / width, "init_values": 0.1}, side * patch


def table_side(rows: int) -> int:
    """Patches per side of the square grid whose table has that many rows, (2 side - 1)^2 + 3. UserError if none has."""
    span = math.isqrt(max(rows - 3, 0))
    if span % 2 == 0 or span * span + 3 != rows:
        raise UserError(
            f"a relative position bias table of {rows} rows belongs to no square grid, which has (2 side - 1)^2 + 3 of "
            "them; use the published file"
        )
    return (span + 1) // 2
