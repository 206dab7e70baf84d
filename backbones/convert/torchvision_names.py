"""torchvision's ConvNeXt and Swin in timm's names; its ResNets have them already.

Source: pytorch/vision torchvision/models/convnext.py and swin_transformer.py. Both put stem, stages and downsampling
into one chain, `features`: stem at 0, stages at odd places, downsampling between them.
"""

import re
from collections.abc import Callable, Mapping

from torch import Tensor, nn

Filter = Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]]
CONVNEXT = {"block.0": "conv_dw", "block.2": "norm", "block.3": "mlp.fc1", "block.5": "mlp.fc2", "layer_scale": "gamma"}
CONVNEXT_ENDS = {"features.0.0": "stem.0", "features.0.1": "stem.1", "classifier.0": "head.norm",
                 "classifier.2": "head.fc"}  # fmt: skip
SWIN = {"norm1": "norm1", "norm2": "norm2", "mlp.0": "mlp.fc1", "mlp.3": "mlp.fc2", "attn.qkv": "attn.qkv",
        "attn.proj": "attn.proj", "attn.relative_position_bias_table": "attn.relative_position_bias_table"}  # fmt: skip

SWIN_ENDS = {"features.0.0": "patch_embed.proj", "features.0.2": "patch_embed.norm", "norm": "norm", "head": "head.fc"}


def names_of(state: Mapping[str, Tensor]) -> Filter | None:
    """The function that renames a file of torchvision's, like timm's own filters; None for another file."""
    if "features.1.0.layer_scale" in state:
        return _filter(CONVNEXT, "stages", CONVNEXT_ENDS)
    if "features.1.0.attn.relative_position_bias_table" in state and "features.1.0.attn.logit_scale" not in state:
        return _filter(SWIN, "layers", SWIN_ENDS)
    return None


def _filter(block: Mapping[str, str], stages: str, outside: Mapping[str, str]) -> Filter:
    def rename(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        found = {_rename(key, block, stages, outside): value for key, value in state.items()}
        found.pop("", None)  # indices that the model makes itself
        return {key: value.flatten() if key.endswith("gamma") else value for key, value in found.items()}

    return rename


def _rename(key: str, block: Mapping[str, str], stages: str, outside: Mapping[str, str]) -> str:
    """timm's name; "" for what is no weight, and the key itself where no rule knows it."""
    if key.endswith("relative_position_index"):
        return ""
    stem, _, part = key.rpartition(".")
    if stem in outside:
        return f"{outside[stem]}.{part}"
    place = re.fullmatch(r"features\.(\d+)\.(.+)", key)
    if place is None:
        return key
    number, rest = int(place[1]), place[2]
    if number % 2 == 0:
        return f"{stages}.{number // 2}.downsample.{rest}"
    index, _, name = rest.partition(".")
    for old, new in block.items():
        if name == old or name.startswith(f"{old}."):
            return f"{stages}.{number // 2}.blocks.{index}.{new}{name.removeprefix(old)}"
    return key
