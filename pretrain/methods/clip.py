"""CLIP: match whole images with whole captions (Radford et al. 2021; facebookresearch/SLIP on YFCC15M).

L = (L_I + L_T) / 2, each direction a cross-entropy over the global batch, with a learnable temperature clamped at 0.01.
The image tower is any timm encoder: a plain ViT, or OpenAI's variant with pre-norm and QuickGELU by its timm name
(vit_base_patch16_clip_quickgelu_224).
"""

from mmengine.registry import MODELS
from torch import Tensor

from pretrain.base import ImageTextMethod
from pretrain.parts.losses import contrastive_losses


@MODELS.register_module()
class CLIP(ImageTextMethod):
    """Contrastive image-text pretraining; its arguments are those of ImageTextMethod."""

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W] and tokens [B, T] -> both directions, each with its factor 1/2."""
        image = self.image_projection(self.encoder(inputs["image"]))  # [B, E]
        text = self.text(inputs["tokens"], inputs.get("valid_tokens"))  # [B, E]
        loss_image, loss_text = contrastive_losses(image, text, self.logit_scale)
        scale = self.logit_scale.detach().exp()
        return {"loss_image": loss_image / 2, "loss_text": loss_text / 2, "logit_scale": scale}
