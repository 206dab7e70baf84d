"""FD: distil a frozen encoder's features into a fresh one (Wei et al. 2022; SwinTransformer/Feature-Distillation).

    L = SmoothL1(g(s), LN(t)), beta 2, over all tokens

t are the teacher's tokens after its final norm, the class token included; LN has neither scale nor shift ("whitening"),
which brings any teacher's features to one range. s are the student's tokens, g a 1 x 1 convolution to the teacher's
width. Nothing is masked. Both see the same pixels, each by its own mean and std; stochastic depth is the student's
alone. The published student has relative positions shared by all blocks and LayerScale, but any plain ViT will do.

The teacher is the run's parent: any checkpoint of this project. It has no part in the state that a resume needs, being
read again from its checkpoint, whose checksum is part of the run's settings.
"""

from typing import Any

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones.facts import has_token_blocks
from engine.errors import UserError
from pretrain.base import PretrainMethod
from pretrain.parent import FrozenTeacher


@MODELS.register_module()
class FD(PretrainMethod):
    """Feature distillation.

    Args:
        encoder: see PretrainMethod: the student, a plain ViT whose patches and prefix tokens are those of the teacher;
            drop_path_rate belongs to its kwargs.
        teacher: checkpoint folder; filled with the run's parent.
        beta: where SmoothL1 turns from quadratic to linear.

    Raises:
        UserError: no teacher, or encoders whose tokens do not correspond one to one.
    """

    parent_role = "teacher"

    def __init__(
        self,
        encoder: dict[str, Any],
        teacher: str | None = None,
        beta: float = 2.0,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, data_preprocessor)
        if teacher is None:
            raise UserError("FD needs a teacher: a checkpoint folder as model.teacher, or tools/train.py --checkpoint")
        self.beta = beta
        self.teacher = FrozenTeacher(teacher, self.data_preprocessor.mean, self.data_preprocessor.std)
        require_same_tokens(self.encoder, self.encoder_cfg["name"], self.teacher, teacher)
        self.projection = nn.Conv1d(self.encoder.embed_dim, self.teacher.encoder.embed_dim, 1)

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W] -> the mean over all tokens and channels."""
        images = inputs["image"]
        target = self.teacher.tokens(images).float()  # [B, P + N, D_t]
        target = F.layer_norm(target, target.shape[-1:], eps=1e-5)
        tokens = self.encoder.forward_features(images)  # [B, P + N, D]
        student = self.projection(tokens.transpose(1, 2)).transpose(1, 2)  # [B, D, P + N] -> [B, P + N, D_t]
        return {"loss_feature": F.smooth_l1_loss(student.float(), target, beta=self.beta)}


def require_same_tokens(student: nn.Module, name: str, teacher: FrozenTeacher, folder: str) -> None:
    """Raise UserError unless both are plain ViTs with patches of one size and as many prefix tokens."""
    theirs = teacher.meta["encoder"]["name"]
    for encoder, what in ((student, f"the student {name}"), (teacher.encoder, f"the teacher {theirs} in {folder}")):
        if not has_token_blocks(encoder):
            raise UserError(
                f"FD compares token by token, but {what} has no blocks of tokens: choose a plain ViT, such as "
                "vit_base_patch16_224 or beit_base_patch16_224"
            )
    layouts = [(e.patch_embed.patch_size, e.num_prefix_tokens) for e in (student, teacher.encoder)]
    if layouts[0] != layouts[1]:
        (patch, prefix), (their_patch, their_prefix) = layouts
        raise UserError(
            f"FD compares token by token, but the student {name} has patches of {patch[0]} pixels and {prefix} prefix "
            f"tokens, the teacher {theirs} in {folder} {their_patch[0]} and {their_prefix}: choose encoders that agree"
        )
