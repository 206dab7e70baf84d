"""DataCompDR: CLIP on a real and a synthetic caption of each image, with stored teachers (Vasu et al., CVPR 2024).

L = [a L_CLIP(image, real) + b L_KD(image, real)] + [a L_CLIP(image, synthetic) + b L_KD(image, synthetic)]

* L_CLIP: CLIP's two directions over the global batch, halved.
* L_KD: the student matches images and captions as the teachers do: 1/2 sum over directions of mean_i H(p_i, q_i), with
  p = mean over teachers of softmax(100 A_t) and q = softmax(exp(s) S), where A_t and S are the cosine similarities of
  the global batch. The teachers' scale is fixed; each teacher is averaged after its own softmax.

The teachers do not run in training: `tools/reinforce.py` stores their embeddings of a few crops of each image and of
its captions, and the data set shows one of those crops with its embeddings.

    (a, b)
    (1, 0)         no teacher: how 2405.08911 trains its ViT-B/16 on DataCompDR
    (0.25, 0.75)   MobileCLIP-B's ViT-B/16 on DataCompDR-1B
    (0, 1)         MobileCLIP-S0 to S2 on DataCompDR-1B, and all on DataCompDR-12M
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank
from mmengine.registry import MODELS
from torch import Tensor

from engine.errors import UserError
from pretrain.base import ImageTextMethod
from pretrain.parts.losses import gather

TEACHER_KEYS = ("teacher_image", "teacher_text", "teacher_text_synthetic")


class Rows(NamedTuple):
    """Normalised embeddings of this process, [B, E], and of all processes, [world * B, E]."""

    own: Tensor
    all: Tensor


def everyone(embeddings: Tensor) -> Rows:
    """Normalise [B, E] and gather it from all processes."""
    own = F.normalize(embeddings.float(), dim=-1)
    return Rows(own, gather(own))


def matches(image: Rows, text: Rows) -> tuple[Tensor, Tensor]:
    """Cosine similarities of own images to all texts, and of own texts to all images, both [B, world * B]."""
    return image.own @ text.all.T, text.own @ image.all.T


def ensemble(images: list[Rows], texts: list[Rows], scale: float) -> list[Tensor]:
    """The teachers' matches in both directions, [B, world * B] each: averaged after each teacher's own softmax."""
    per_teacher = [matches(image, text) for image, text in zip(images, texts, strict=True)]
    return [sum((scale * match).softmax(dim=1) for match in way) / len(way) for way in zip(*per_teacher, strict=True)]


def own_pair_loss(scores: list[Tensor]) -> Tensor:
    """CLIP's loss of both directions' logits [B, world * B], halved."""
    target = torch.arange(len(scores[0]), device=scores[0].device) + get_rank() * len(scores[0])
    return sum(F.cross_entropy(way, target) for way in scores) / 2


def distillation_loss(targets: list[Tensor], scores: list[Tensor]) -> Tensor:
    """L_KD: the teachers' probabilities against both directions' logits, all [B, world * B]."""
    # cross_entropy takes probabilities as targets: mean over rows of -sum target * log softmax
    return sum(F.cross_entropy(way, target) for way, target in zip(scores, targets, strict=True)) / 2


@MODELS.register_module()
class DataCompDR(ImageTextMethod):
    """Contrastive and distilled learning from two captions of each image.

    Args:
        encoder, text: see ImageTextMethod.
        clip_weight, distill_weight: a and b, see above.
        teacher_widths: each teacher's share of the stored embeddings; `pretrain.fill` reads them where it is None.
        teacher_scale: of the teachers' similarities.
    """

    needs = frozenset({"image", "tokens", "tokens_synthetic"})

    def __init__(
        self,
        encoder: dict[str, Any],
        text: dict[str, Any],
        clip_weight: float = 1.0,
        distill_weight: float = 0.0,
        teacher_widths: Sequence[int] | None = None,
        teacher_scale: float = 100.0,
        data_preprocessor: dict | None = None,
    ) -> None:
        if min(clip_weight, distill_weight) < 0 or clip_weight + distill_weight == 0:
            raise UserError(
                f"DataCompDR: clip_weight {clip_weight} and distill_weight {distill_weight} must not be negative, and "
                "one must be positive: (1, 0) without a teacher, (0.25, 0.75) or (0, 1) with one"
            )
        if distill_weight and not teacher_widths:
            raise UserError(
                f"DataCompDR: distill_weight {distill_weight} needs stored teachers: make them with tools/reinforce.py "
                "and name their folder in train_dataloader.dataset.reinforcement"
            )
        super().__init__(encoder, text, data_preprocessor)
        self.clip_weight, self.distill_weight = clip_weight, distill_weight
        self.teacher_widths, self.teacher_scale = list(teacher_widths or ()), teacher_scale

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W], tokens [B, T], tokens_synthetic [B, U] -> the weighted terms of both captions.

        With a teacher also teacher_image, teacher_text and teacher_text_synthetic [B, sum of teacher_widths].
        """
        image = self.image_projection(self.encoder(inputs["image"]))  # [B, E]
        texts = self.embed_texts(inputs["tokens"], inputs["tokens_synthetic"])  # [B, E] each
        teacher_image, *teacher_texts = self.teachers(inputs) if self.distill_weight else (None, None, None)
        losses = {"logit_scale": self.logit_scale.detach().exp()}
        # Similarities in float32 also under bf16 autocast: at a scale of 100 a bf16 logit is off by up to 0.25.
        with torch.autocast(image.device.type, enabled=False):
            image = everyone(image)
            for name, text, teacher_text in zip(("", "_synthetic"), texts, teacher_texts, strict=True):
                text = everyone(text)
                scores = [self.logit_scale.exp() * match for match in matches(image, text)]  # both [B, world * B]
                if self.clip_weight:
                    losses[f"loss_clip{name}"] = self.clip_weight * own_pair_loss(scores)
                if self.distill_weight:
                    target = ensemble(teacher_image, teacher_text, self.teacher_scale)
                    losses[f"loss_distill{name}"] = self.distill_weight * distillation_loss(target, scores)
        return losses

    def embed_texts(self, real: Tensor, synthetic: Tensor) -> Sequence[Tensor]:
        """Tokens [B, T] and [B, U] -> embeddings [B, E] of both.

        One pass for texts of like lengths: the causal tower does not see padding. A short text beside one of more than
        twice its length would mostly be padding, which costs as much as words: then each has its own pass.
        """
        lengths = real.shape[1], synthetic.shape[1]
        if max(lengths) > 2 * min(lengths):
            return self.text(real), self.text(synthetic)
        padded = [F.pad(tokens, (0, max(lengths) - tokens.shape[1])) for tokens in (real, synthetic)]
        return self.text(torch.cat(padded)).chunk(2)

    def teachers(self, inputs: dict[str, Tensor]) -> list[list[Rows]]:
        """Each teacher's normalised embeddings: of the images, of the real and of the synthetic captions."""
        if missing := [key for key in TEACHER_KEYS if key not in inputs]:
            raise UserError(
                f"DataCompDR: the batch has no {' and no '.join(missing)}: name a folder of tools/reinforce.py in "
                "train_dataloader.dataset.reinforcement"
            )
        made = []
        for key in TEACHER_KEYS:
            if inputs[key].shape[1] != sum(self.teacher_widths):
                raise UserError(
                    f"DataCompDR: {key} has {inputs[key].shape[1]} values a sample, but teacher_widths are "
                    f"{self.teacher_widths}: leave model.teacher_widths to the reinforcement"
                )
            slices = inputs[key].split(self.teacher_widths, dim=1)
            made.append([everyone(rows) for rows in slices])
        return made
