"""DINO (Caron et al. 2021; github.com/facebookresearch/dino): a bare backbone, or the full file of a training run.

The full file holds student and teacher; the teacher is the better encoder and the published one.
DistributedDataParallel wraps the student (`module.`) but, as a ViT has no batch norm, not the teacher.
"""

from collections.abc import Mapping

from torch import Tensor

from backbones.convert import Converted
from backbones.convert.vit import convert_plain, has_fixed_positions, is_plain

DROP = {
    r"student\..*": "the teacher is used, as in the published models",
    r"teacher\.(module\.)?head\..*": "the projector serves pretraining alone",
}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Backbones of student and teacher, or a plain ViT with learned positions and no head."""
    return any(key.startswith("student.module.backbone.") for key in state) or (
        is_plain(state) and not has_fixed_positions(state)
    )


def convert(state: Mapping[str, Tensor], heads: int | None = None) -> Converted:
    """The teacher's backbone."""
    if any(key.startswith("teacher.") for key in state):
        wrapped = any(key.startswith("teacher.module.") for key in state)
        return convert_plain(state, "dino", "teacher.module.backbone." if wrapped else "teacher.backbone.", DROP, heads)
    return convert_plain(state, "dino", heads=heads)
