"""FD, Feature Distillation (SwinTransformer/Feature-Distillation): the pretrained ViT students and the fine-tuned ones.

A pretrained file holds the student `encoder.*`, the 1 x 1 convolution `decoder.0.*` and the frozen teacher
`feature_model.*`, in whatever names CLIP, DINO or DeiT has. The student is BEiT's encoder with a shared table. A
fine-tuned file is bare and has a table in each block, exactly as BEiT's of 1000 classes: `--format` must say which of
the two it is. The Swin V2 student of EsViT is no ViT, and its keys find no place here.
"""

from collections.abc import Mapping

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from backbones.convert import Converted
from backbones.convert.beit import INDEX, bare, beit_encoder, sort_keys

IMAGE = {"mean": list(IMAGENET_DEFAULT_MEAN), "std": list(IMAGENET_DEFAULT_STD)}
CLASSES = 1000  # ImageNet-1K, on which alone FD is fine-tuned
DROP = {
    r"decoder\.0\..*": "projects to the teacher's width in pretraining only",
    r"feature_model\..*": "the frozen teacher",
    r"head\..*": "classifies; an encoder ends before it",
    r".*\.relative_position_index": INDEX,
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the keys of FD: a student beside its teacher, or one fine-tuned on 1000 classes."""
    pretrained = "encoder.cls_token" in state and any(key.startswith("feature_model.") for key in state)
    return pretrained or (bare(state) and "head.weight" in state and len(state["head.weight"]) == CLASSES)


def convert(state: Mapping[str, Tensor]) -> Converted:
    """Convert FD's keys. UserError for a table that belongs to no square grid, KeyError for a missing key."""
    names, dropped = sort_keys(state, "" if bare(state) else "encoder.", DROP)
    return beit_encoder(state, names, dropped, IMAGE, "fd")
