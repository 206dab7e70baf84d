"""CLIP: match whole images with whole captions (Radford et al. 2021; FACTS of the SLIP/MaskCLIP family on YFCC15M).

L = (L_I + L_T) / 2, each direction a cross-entropy over the global batch, with a learnable temperature clamped at 0.01.
The image tower is any timm encoder: a plain ViT, or OpenAI's variant with pre-norm and QuickGELU by its timm name
(vit_base_patch16_clip_quickgelu_224).
"""

from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones.text import TextTower
from pretrain.base import PretrainMethod
from pretrain.parts.losses import clamp_logit_scale, contrastive_losses, new_logit_scale


@MODELS.register_module()
class CLIP(PretrainMethod):
    """Contrastive image-text pretraining.

    Args:
        encoder: see PretrainMethod.
        text: arguments of `backbones.text.TextTower`; its embed_dim is the width of the shared space.
    """

    needs = frozenset({"image", "tokens"})

    def __init__(self, encoder: dict[str, Any], text: dict[str, Any], data_preprocessor: dict | None = None) -> None:
        super().__init__(encoder, data_preprocessor)
        self.text = TextTower(**text)
        width = self.encoder.num_features
        self.image_projection = nn.Linear(width, self.text.embed_dim, bias=False)
        nn.init.normal_(self.image_projection.weight, std=width**-0.5)
        self.logit_scale = new_logit_scale()

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W] and tokens [B, T] -> both directions, each with its factor 1/2."""
        image = self.image_projection(self.encoder(inputs["image"]))  # [B, E]
        text = self.text(inputs["tokens"])  # [B, E]
        loss_image, loss_text = contrastive_losses(image, text, self.logit_scale)
        scale = self.logit_scale.detach().exp()
        return {"loss_image": loss_image / 2, "loss_text": loss_text / 2, "logit_scale": scale}

    def after_step(self, progress: float) -> None:
        """Clamp the temperature."""
        clamp_logit_scale(self.logit_scale)

    def text_state(self) -> dict[str, Tensor]:
        """The text tower as "text.*", the image projection and the temperature."""
        return contrastive_state(self)

    def checkpoint_meta(self) -> dict[str, Any]:
        """With the text tower's arguments."""
        return {**super().checkpoint_meta(), "text": self.text.meta()}


def contrastive_state(model: nn.Module) -> dict[str, Tensor]:
    """What zero-shot use needs beside the encoder: text tower, image projection, temperature."""
    state = {f"text.{name}": value for name, value in model.text.state_dict().items()}
    state["image_projection.weight"] = model.image_projection.weight.detach()
    state["logit_scale"] = model.logit_scale.detach()
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}
