"""MAE: reconstruct masked patches from the visible quarter (He et al. 2022; facebookresearch/mae).

The encoder sees CLS and the visible patches only, with fixed sine-cosine positions. A narrow decoder gets those tokens
and a mask token at every hidden place. The target is each hidden patch's pixels, normalised by the patch's own mean and
unbiased variance; the loss is the mean squared error over hidden patches.
"""

from typing import Any

import torch
from mmengine.registry import MODELS
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from engine.errors import UserError
from pretrain.base import PretrainMethod
from pretrain.parts.heads import xavier_linears
from pretrain.parts.masking import RandomMask, random_mask, take, with_mask_tokens
from pretrain.parts.patches import normalise_patches, patchify
from pretrain.parts.visible_tokens import (
    encode_visible,
    fix_positions,
    require_droppable,
    run_block_at,
    sincos_positions,
)


@MODELS.register_module()
class MAE(PretrainMethod):
    """Masked autoencoder.

    Args:
        encoder: see PretrainMethod; a plain ViT.
        mask_ratio: share of hidden patches.
        decoder_width, decoder_depth, decoder_heads: of the decoder; 512, 8 and 16 in the paper.
        decoder_norm_eps: epsilon of the decoder's last norm; that of its blocks' norms is 1e-6, as published for all.
        normalise_target: per-patch normalised pixels instead of raw ones.
    """

    def __init__(
        self,
        encoder: dict[str, Any],
        mask_ratio: float = 0.75,
        decoder_width: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        decoder_norm_eps: float = 1e-6,
        normalise_target: bool = True,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, data_preprocessor)
        if decoder_depth < 1:
            raise UserError(
                f"decoder_depth is {decoder_depth}: a mask token sees the image in a block alone; choose 1 or more"
            )
        require_droppable(self.encoder, self.encoder_cfg["name"])
        self.mask_ratio, self.normalise_target = mask_ratio, normalise_target
        self.patch = self.encoder.patch_embed.patch_size[0]
        grid = self.encoder.patch_embed.grid_size
        fix_positions(self.encoder)

        self.decoder_embed = nn.Linear(self.encoder.embed_dim, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.register_buffer("decoder_positions", sincos_positions(decoder_width, grid), persistent=False)
        self.decoder_blocks = nn.Sequential(
            *(Block(decoder_width, decoder_heads, qkv_bias=True) for _ in range(decoder_depth))
        )
        self.decoder_norm = nn.LayerNorm(decoder_width, eps=decoder_norm_eps)
        self.decoder_pred = nn.Linear(decoder_width, self.patch**2 * 3)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The published start: Xavier-uniform linears and patch projection, normal CLS and mask tokens (std 0.02)."""
        xavier_linears(self)
        projection = self.encoder.patch_embed.proj.weight
        nn.init.xavier_uniform_(projection.view(len(projection), -1))
        nn.init.normal_(self.mask_token, std=0.02)
        if self.encoder.cls_token is not None:
            nn.init.normal_(self.encoder.cls_token, std=0.02)

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W] -> the mean squared error over hidden patches."""
        images = inputs["image"]
        target = patchify(images, self.patch)  # [B, N, p * p * 3]
        mask = random_mask(len(images), target.shape[1], self.mask_ratio, images.device)
        latent = encode_visible(self.encoder, images, mask.keep)  # [B, P + V, D]
        prediction = self.decode(latent, mask)  # [B, M, p * p * 3]
        hidden = take(target, mask.hidden)  # [B, M, p * p * 3]
        if self.normalise_target:
            hidden = normalise_patches(hidden)
        return {"loss_pixel": (prediction.float() - hidden).square().mean()}

    def decode(self, latent: Tensor, mask: RandomMask) -> Tensor:
        """Encoder tokens [B, P + V, D] -> predicted pixels of the hidden patches [B, M, p * p * 3].

        Every hidden patch has the same number of pixels and every image as many hidden patches, so the mean over
        hidden patches only is the paper's loss; visible ones are not projected to pixels, and leave the decoder when
        nobody attends to them any more, in its last block.
        """
        x = self.decoder_embed(latent)
        prefix = x.shape[1] - mask.keep.shape[1]
        patches = with_mask_tokens(x[:, prefix:], self.mask_token, mask) + self.decoder_positions  # [B, N, width]
        x = self.decoder_blocks[:-1](torch.cat([x[:, :prefix], patches], dim=1))
        x = run_block_at(self.decoder_blocks[-1], x, prefix + mask.hidden)  # [B, M, width]
        return self.decoder_pred(self.decoder_norm(x))
