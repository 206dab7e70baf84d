"""DINO: a student names any crop of an image as its teacher names the global ones (Caron et al., ICCV 2021).

    L = mean over pairs (q, v), v != q, of CE(softmax((g'(x_q) - c) / tau_t), softmax(g(x_v) / tau_s))

q runs over the two global views, v over these and the small local crops. g is an encoder with a head of K soft code
words, g' its exponential moving average, c a running mean of the teacher's scores over all processes, which is updated
after its use. Sharpening (tau_t < tau_s) and centring together keep the codes from collapsing. The head's last layer
stays at its start for the first share of training. No labels, no negatives (facebookresearch/dino).

Against the published code: the teacher's temperature warms up by iterations, not epochs; its momentum in iteration i of
n is that of (i + 1) / n, not i / n; gradients are clipped by their common norm, not each tensor by its own; and the
positions are antialiased where they shrink to the grid of the local crops, as timm does it everywhere, while the
published code interpolates without, so that what the local crops give differs. docs/departures.md lists all methods.
"""

import copy
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones import describe_encoder
from engine.errors import UserError
from pretrain.base import PretrainMethod
from pretrain.parts.ema import EmaTeacher
from pretrain.parts.heads import Quantizer, TeacherCentre


@torch.no_grad()
def width_at_any_size(encoder: nn.Module, name: str) -> int:
    """The width of the encoder's pooled features; UserError if it does not take images of several sizes."""
    stride = describe_encoder(encoder).multiple
    probe = copy.deepcopy(encoder).to("meta").eval()  # shapes only
    try:
        return [probe(torch.zeros(1, 3, n * stride, n * stride, device="meta")).shape[1] for n in (2, 3)][0]
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"encoder {name!r} takes images of one size only, and DINO shows it global and local crops: choose a plain "
            "ViT or a convolutional encoder of timm's, such as vit_small_patch16_224 or resnet50"
        ) from error


def code_loss(scores: Tensor, code: Tensor) -> Tensor:
    """Mean cross-entropy over images and pairs of a teacher's view q and another view v of the student; a scalar.

    Since a code sums to one, CE(p, softmax(s)) = logsumexp(s) - <p, s>: nothing as large as the scores is made besides
    them, and all local crops of an image meet the sum of its two codes at once.

    Args:
        scores: the student's, over its temperature [2 + V, B, K], the global views first.
        code: the teacher's distributions [2, B, K] of the same global views.
    """
    views, batch = scores.shape[:2]
    own, local = scores.split([2, views - 2])
    agreement = (code.flip(0) * own).sum() + (code.sum(dim=0) * local.sum(dim=0)).sum()
    # a global view is compared with the other one's code, a local crop with both
    normaliser = own.logsumexp(dim=-1).sum() + 2 * local.logsumexp(dim=-1).sum()
    return (normaliser - agreement) / (batch * 2 * (views - 1))


@MODELS.register_module()
class DINO(PretrainMethod):
    """Self-distillation over several crops: image_1, image_2 [B, 3, S, S] and, where made, image_local [B, V, 3, s, s].

    Args:
        encoder: see PretrainMethod; one that takes images of several sizes.
        head: arguments of Quantizer (hidden, bottleneck, codes); 2048, 256 and 65536 unless given.
        student_temperature: tau_s.
        teacher_temperature: (start, end) of tau_t, linear over the first `teacher_warmup` of training.
        centre_momentum: of c.
        freeze_last: share of training in which the head's last layer stays as it is; the paper takes one epoch.
        momentum: (start, end) of the teacher's EMA, half a cosine.
    """

    needs = frozenset({"image_1", "image_2"})

    def __init__(
        self,
        encoder: dict[str, Any],
        head: dict[str, int] | None = None,
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        teacher_warmup: float = 0.1,
        centre_momentum: float = 0.9,
        freeze_last: float = 0.01,
        momentum: tuple[float, float] = (0.996, 1.0),
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, data_preprocessor)
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.teacher_warmup, self.freeze_last = teacher_warmup, freeze_last
        width = width_at_any_size(self.encoder, self.encoder_cfg["name"])
        self.head = Quantizer(width, **{"codes": 65536, **(head or {})})
        self.centre = TeacherCentre(self.head.codes, centre_momentum)
        self.teacher = EmaTeacher(self.encoder, momentum, curve="cosine", batch_norm="own")
        self.head_teacher = EmaTeacher(self.head, momentum, curve="cosine")

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Views of the same images -> the loss."""
        images = torch.cat([inputs["image_1"], inputs["image_2"]])  # [2B, 3, S, S]
        batch = len(inputs["image_1"])
        features = [self.encoder(images)]
        if "image_local" in inputs:
            crops = inputs["image_local"].transpose(0, 1).flatten(0, 1)  # [B, V, 3, s, s] -> [V * B, 3, s, s]
            features.append(self.encoder(crops))
        scores = self.scores(self.head, torch.cat(features))  # [(2 + V) * B, K]
        scores = scores.div_(self.student_temperature).unflatten(0, (-1, batch))  # [2 + V, B, K]
        with torch.no_grad():
            seen = self.scores(self.head_teacher.module, self.teacher.module(images))  # [2B, K]
            code = ((seen - self.centre.value) / self.teacher_temperature_now()).softmax(dim=-1)
        loss = code_loss(scores, code.unflatten(0, (2, batch)))
        self.centre.update(seen)  # after its use
        return {"loss_code": loss}

    def scores(self, head: nn.Module, features: Tensor) -> Tensor:
        """Features [R, D] -> scores [R, K] in float32, also under bf16 autocast: tau_t magnifies errors 25 times."""
        with torch.autocast(features.device.type, enabled=False):
            return head(features.float())

    def teacher_temperature_now(self) -> float:
        """tau_t at this point of training."""
        start, end = self.teacher_temperature
        return start + (end - start) * min(1.0, self.progress / self.teacher_warmup) if self.teacher_warmup else end

    def frozen_now(self) -> list[nn.Parameter]:
        """The head's last layer at the start of training."""
        return [self.head.prototypes] if self.progress < self.freeze_last else []

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        self.teacher.update(self.encoder, progress)
        self.head_teacher.update(self.head, progress)
