"""MaskCLIP: CLIP with masked self-distillation and masked language modelling (Dong et al., CVPR 2023).

L = L_I + L_T + 0.05 L_Dist + 0.05 L_MLM, without CLIP's factor 1/2 (eq. 8).

* L_I, L_T: CLIP on the full image and the full text.
* L_Dist: the student encodes the visible quarter of the patches; a shallow decoder fills the hidden places with a mask
  token; a quantizer head h turns each hidden place into a distribution over soft code words, which must match the one
  of an EMA teacher (encoder and head) that sees the full image. Cross-entropy on hidden places only.
* L_MLM: 20 % of the words are replaced by [MASK]; the same text tower and a decoder of 4 layers name them. Text only:
  no image, no teacher; never start, end or padding.

The quantizer's inside is not published: iBOT's head, temperatures and centring are the defaults here, all arguments.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from pretrain.base import ImageTextMethod
from pretrain.parts.ema import EmaTeacher
from pretrain.parts.heads import Quantizer, TeacherCentre
from pretrain.parts.losses import contrastive_losses
from pretrain.parts.masking import RandomMask, random_mask, take, with_mask_tokens
from pretrain.parts.mlm import MaskedLanguageModel
from pretrain.parts.patches import normalise_patches, patchify
from pretrain.parts.visible_tokens import embed_tokens, require_droppable, run_blocks, sincos_positions


@MODELS.register_module()
class MaskCLIP(ImageTextMethod):
    """CLIP + masked self-distillation + masked language modelling.

    Args:
        encoder: see PretrainMethod; a plain ViT.
        text: arguments of TextTower.
        distill_weight, mlm_weight: 0.05 each; 0 leaves the branch out.
        mask_ratio: share of hidden patches, drawn at random.
        target: "code" (cross-entropy over the quantizer's code words), "feature" (mean squared error to the teacher's
            features) or "pixel" (MAE's normalised pixels): the published ablations.
        momentum: (start, end) of the teacher's EMA; None takes the student itself, without gradient, as teacher.
        decoder_depth, decoder_heads: of the visual decoder, as wide as the encoder.
        decoder_norm_eps: epsilon of its last norm; that of its blocks' norms and of the encoder's is 1e-6.
        quantizer: arguments of Quantizer (hidden, bottleneck, codes).
        student_temperature: of the student's softmax.
        teacher_temperature: (start, end) of the teacher's, linear over the first `teacher_warmup` of training.
        centre_momentum: of the teacher's centre; None for no centring.
        mlm: arguments of MaskedLanguageModel (ratio, depth, causal, corruption).
    """

    def __init__(
        self,
        encoder: dict[str, Any],
        text: dict[str, Any],
        distill_weight: float = 0.05,
        mlm_weight: float = 0.05,
        mask_ratio: float = 0.75,
        target: Literal["code", "feature", "pixel"] = "code",
        momentum: tuple[float, float] | None = (0.999, 0.9999),
        decoder_depth: int = 1,
        decoder_heads: int = 16,
        decoder_norm_eps: float = 1e-6,
        quantizer: dict[str, int] | None = None,
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        teacher_warmup: float = 0.3,
        centre_momentum: float | None = 0.9,
        mlm: dict[str, Any] | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, text, data_preprocessor)
        require_droppable(self.encoder, self.encoder_cfg["name"])
        self.distill_weight, self.mlm_weight = distill_weight, mlm_weight
        self.mask_ratio, self.target = mask_ratio, target
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.teacher_warmup = teacher_warmup
        width = self.encoder.embed_dim

        self.teacher = self.head_teacher = self.centre = None
        if distill_weight:
            self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
            nn.init.normal_(self.mask_token, std=0.02)
            positions = sincos_positions(width, self.encoder.patch_embed.grid_size)
            self.register_buffer("decoder_positions", positions, persistent=False)
            blocks = (Block(width, decoder_heads, qkv_bias=True) for _ in range(decoder_depth))
            self.decoder = nn.Sequential(*blocks, nn.LayerNorm(width, eps=decoder_norm_eps))
            pixels = self.encoder.patch_embed.patch_size[0] ** 2 * 3
            quantizer = quantizer or {}
            self.head = (
                Quantizer(width, **quantizer)
                if target == "code"
                else nn.Linear(width, width if target == "feature" else pixels)
            )
            if momentum is not None and target != "pixel":
                self.teacher = EmaTeacher(self.encoder, momentum)
                self.head_teacher = EmaTeacher(self.head, momentum) if target == "code" else None
            if target == "code" and centre_momentum is not None:
                self.centre = TeacherCentre(self.head.codes, centre_momentum)
        if mlm_weight:
            self.mlm = MaskedLanguageModel(self.text, **(mlm or {}))

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W] and tokens [B, T] -> the weighted terms."""
        images, tokens = inputs["image"], inputs["tokens"]
        prefix, patches = embed_tokens(self.encoder, images)  # shared by the full and the masked pass
        full = run_blocks(self.encoder, prefix, patches)  # [B, P + N, D]
        image = self.image_projection(self.encoder.forward_head(full))  # [B, E]
        valid = inputs.get("valid_tokens")
        if self.mlm_weight:
            text, loss_mlm = self.mlm(self.text, tokens, valid)
        else:
            text, loss_mlm = self.text(tokens, valid), None
        loss_image, loss_text = contrastive_losses(image, text, self.logit_scale)
        losses = {"loss_image": loss_image, "loss_text": loss_text, "logit_scale": self.logit_scale.detach().exp()}
        if loss_mlm is not None:
            losses["loss_mlm"] = self.mlm_weight * loss_mlm
        if self.distill_weight:
            mask = random_mask(len(images), patches.shape[1], self.mask_ratio, images.device)
            student = self.student_features(prefix, patches, mask)  # [B, M, D]
            losses["loss_distill"] = self.distill_weight * self.distill(student, full, images, mask)
        return losses

    def student_features(self, prefix: Tensor, patches: Tensor, mask: RandomMask) -> Tensor:
        """Embedded tokens [B, P, D], [B, N, D] -> decoded features of the hidden patches [B, M, D]."""
        visible = run_blocks(self.encoder, prefix, take(patches, mask.keep))  # [B, P + V, D]
        count = prefix.shape[1]
        places = with_mask_tokens(visible[:, count:], self.mask_token, mask) + self.decoder_positions  # [B, N, D]
        decoded = self.decoder(torch.cat([visible[:, :count], places], dim=1))
        return take(decoded[:, count:], mask.hidden)

    def distill(self, student: Tensor, full: Tensor, images: Tensor, mask: RandomMask) -> Tensor:
        """Student's hidden features [B, M, D] against the target of the full image; a scalar.

        `full` [B, P + N, D] are the student's own tokens of the full image, the target where there is no EMA.
        """
        if self.target == "pixel":
            pixels = take(patchify(images, self.encoder.patch_embed.patch_size[0]), mask.hidden)
            return F.mse_loss(self.head(student).float(), normalise_patches(pixels))
        with torch.no_grad():
            tokens = full.detach() if self.teacher is None else self.teacher.module.forward_features(images)
            teacher = take(tokens[:, self.encoder.num_prefix_tokens :], mask.hidden)  # [B, M, D]
        if self.target == "feature":
            return F.mse_loss(self.head(student).float(), teacher.float())
        with torch.no_grad():
            head = self.head if self.head_teacher is None else self.head_teacher.module
            scores = head(teacher).float()  # [B, M, K]
            centred = scores if self.centre is None else scores - self.centre.value
            code = (centred / self.teacher_temperature_now()).softmax(dim=-1)
        own = self.head(student).float() / self.student_temperature
        loss = (own.logsumexp(dim=-1) - (code * own).sum(dim=-1)).mean()  # CE(p, softmax(s)), as sum(p) = 1
        if self.centre is not None:
            self.centre.update(scores)  # after its use, as in iBOT
        return loss

    def teacher_temperature_now(self) -> float:
        """The teacher's temperature at this point of training."""
        start, end = self.teacher_temperature
        return start + (end - start) * min(1.0, self.progress / self.teacher_warmup) if self.teacher_warmup else end

    def after_step(self, progress: float) -> None:
        """Clamp the temperature and move the teacher."""
        super().after_step(progress)
        if self.teacher is not None:
            self.teacher.update(self.encoder, progress)
        if self.head_teacher is not None:
            self.head_teacher.update(self.head, progress)
