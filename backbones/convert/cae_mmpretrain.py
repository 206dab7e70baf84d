"""CAE as open-mmlab/mmpretrain trains and publishes it (ViT-B/16, 300 epochs): CAE's encoder by other names.

`backbone.*` is the encoder, in the names of OpenMMLab's BEiT; `neck.*` regresses and decodes, `teacher.*` is the
backbone's copy for the alignment target, `target_generator.*` the frozen tokenizer where the file holds it.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from backbones.convert import Converted
from backbones.convert.beit import sort_keys
from backbones.convert.cae import COPY, PRETRAINING, PUBLISHED, cae_encoder

DROP = {r"neck\..*": PRETRAINING, r"teacher\..*": COPY, r"target_generator\..*": "the frozen tokenizer"}
TO_CAE = {  # OpenMMLab's name -> CAE's
    r"patch_embed\.projection\.(.*)": r"patch_embed.proj.\1",
    r"layers\.(\d+)\.ln([12])\.(.*)": r"blocks.\1.norm\2.\3",
    r"layers\.(\d+)\.ffn\.layers\.0\.0\.(.*)": r"blocks.\1.mlp.fc1.\2",
    r"layers\.(\d+)\.ffn\.layers\.1\.(.*)": r"blocks.\1.mlp.fc2.\2",
    r"layers\.(\d+)\.(.*)": r"blocks.\1.\2",
    r"ln1\.(.*)": r"norm.\1",
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the keys of mmpretrain's CAE: its backbone beside the neck's regressors."""
    return "backbone.layers.0.attn.q_bias" in state and any(key.startswith("neck.regressors.") for key in state)


def convert(state: Mapping[str, Tensor], heads: int | None = None) -> Converted:
    """Convert mmpretrain's keys. UserError for a width without a published head count, KeyError for a missing key.

    Args:
        state: The file.
        heads: Attention heads; None: as published, which is ViT-B alone.
    """
    names, dropped = sort_keys(state, "backbone.", DROP)
    names = {cae_name(name): key for name, key in names.items()}
    only = {768: PUBLISHED[768]}  # OpenMMLab's narrow ViTs have other head counts than CAE's
    return cae_encoder(state, names, dropped, only, heads)


def cae_name(name: str) -> str:
    """CAE's name of a key of mmpretrain's backbone; a name that both use stays."""
    for pattern, replacement in TO_CAE.items():
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    return name
