"""Contrastive targets that soften as training goes on, and CLIP's loss against them (LightCLIP, eqs. 2-9).

One-hot labels call every other caption of the batch equally wrong. LightCLIP begins with them, then spreads a share
alpha evenly over the negatives (PyramidCLIP's softening), and at last in proportion to how probable the model itself
finds each negative.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank
from torch import Tensor

from engine.errors import UserError
from pretrain.parts.losses import gather

Softening = Literal["hard", "uniform", "importance"]


def softening_at(progress: float, switches: tuple[float, float] = (0.33, 0.66)) -> Softening:
    """The kind of labels at a share `progress` of training: each switch belongs to what it begins (eq. 9)."""
    return "hard" if progress < switches[0] else "uniform" if progress < switches[1] else "importance"


@torch.no_grad()
def soft_labels(logits: Tensor, positive: Tensor, kind: Softening, alpha: float) -> Tensor:
    """Targets [B, M], each row summing to 1; 1 - alpha (or 1, where hard) stands on the positive.

    hard: y. uniform: (1 - alpha) y + alpha / (M - 1) (1 - y). importance: (1 - alpha) y + alpha w, where w_ij is
    p_ij / sum_{k != i} p_ik for the negatives, p the softmax of the logits, and no gradient passes through w. How w
    follows from the similarities is not legible in the published text; this is the softmax without the positive.

    Args:
        logits: [B, M], similarities times the inverse temperature, in float32.
        positive: [B], the column of each row's partner.
        kind: of softening; alpha: mass of the negatives.
    """
    hard = F.one_hot(positive, logits.shape[1]).to(logits.dtype)
    if kind == "hard":
        return hard
    if logits.shape[1] < 2:
        raise UserError("softened labels need a negative: raise train_dataloader.batch_size to 2 or more")
    if kind == "uniform":
        return (1 - alpha) * hard + alpha / (logits.shape[1] - 1) * (1 - hard)
    weight = logits.masked_fill(hard.bool(), -torch.inf).softmax(dim=1)
    return (1 - alpha) * hard + alpha * weight


def softened_losses(
    image: Tensor, text: Tensor, logit_scale: Tensor, kind: Softening, alpha: float
) -> tuple[Tensor, Tensor]:
    """Both directions of CLIP's loss against soft labels, each the mean over this process's rows of CE(y_i, p_i).

    As `contrastive_losses`: own rows against the columns of all processes, and the labels are over those columns.

    Args:
        image, text: projected features [B, D], not yet normalised; row i of both belongs together.
        logit_scale: logarithm of the inverse temperature, scalar.
        kind, alpha: see `soft_labels`; the importances are taken for each direction by itself.
    """
    with torch.autocast(image.device.type, enabled=False):
        image = F.normalize(image.float(), dim=-1)
        text = F.normalize(text.float(), dim=-1)
        scale = logit_scale.exp()
        positive = torch.arange(len(image), device=image.device) + get_rank() * len(image)
        losses = []
        for rows, columns in ((image, text), (text, image)):
            logits = scale * rows @ gather(columns).T  # [B, world * B]
            losses.append(F.cross_entropy(logits, soft_labels(logits, positive, kind, alpha)))
    return losses[0], losses[1]
