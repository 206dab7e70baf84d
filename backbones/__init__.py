"""What an encoder is: built by timm name, stored, loaded, resized, shown to OpenMMLab as a pyramid, decayed by layer.

Importing this package registers `ViTPyramid`, `HierarchicalPyramid`, `PooledEncoder` (MODELS), `LayerDecayConstructor`
(OPTIM_WRAPPER_CONSTRUCTORS) in mmengine's root registries, where mmdet's and mmseg's registries find them by name.
"""

from backbones.checkpoint import (
    checkpoint_exists,
    load_encoder,
    load_into,
    load_text_state,
    missing_checkpoint_message,
    read_checkpoint,
    save_checkpoint,
)
from backbones.encoder import build_encoder, encoder_facts, encoder_flops, flops_per_image, parameter_count
from backbones.facts import EncoderFacts, describe_encoder
from backbones.fill import fill_encoder_parts
from backbones.hierarchical import HierarchicalPyramid
from backbones.layer_decay import LayerDecayConstructor, layer_decay_groups
from backbones.ledger import Ledger, Rules, load_exactly, read_ledger
from backbones.pooled import PooledEncoder, all_tokens, pools_tokens
from backbones.positions import resize_positions
from backbones.preprocess import IMAGENET_MEAN, IMAGENET_STD, ImagePreprocessor
from backbones.vit_pyramid import ViTPyramid

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "EncoderFacts",
    "HierarchicalPyramid",
    "ImagePreprocessor",
    "LayerDecayConstructor",
    "Ledger",
    "PooledEncoder",
    "Rules",
    "ViTPyramid",
    "all_tokens",
    "pools_tokens",
    "fill_encoder_parts",
    "build_encoder",
    "checkpoint_exists",
    "describe_encoder",
    "encoder_facts",
    "encoder_flops",
    "load_exactly",
    "load_into",
    "flops_per_image",
    "layer_decay_groups",
    "load_encoder",
    "load_text_state",
    "missing_checkpoint_message",
    "parameter_count",
    "read_checkpoint",
    "read_ledger",
    "resize_positions",
    "save_checkpoint",
]
