"""BEiT: name the visual tokens of masked patches (Bao et al., ICLR 2022; microsoft/unilm/beit).

Rectangles of patches are hidden. The encoder sees every place, a learnable mask token at the hidden ones, and has one
relative position bias that all blocks share. A linear layer on the normed features of the hidden places names the token
that a frozen dVAE encoder gives the same place of the same crop; the loss is the cross-entropy over hidden places.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones.relative_positions import AnySizeBeit
from engine.errors import UserError
from pretrain.base import PretrainMethod
from pretrain.parts.block_masking import block_mask
from pretrain.parts.masking import RandomMask, take
from pretrain.tokenizer.load import build_tokenizer


@MODELS.register_module()
class BEiT(PretrainMethod):
    """Masked image modelling with visual tokens.

    It learns from "image" [B, 3, H, W] and "pixels", the same window at 8 pixels a patch (uint8), or, where the data
    set has a token cache, from its "ids" [B, N].

    Args:
        encoder: see PretrainMethod; a BEiT of timm's with a norm behind its blocks (use_fc_norm=False).
        tokenizer: see `pretrain.tokenizer.load.build_tokenizer`.
        mask_count: hidden patches of an image: 75 of 14 x 14 in the paper.
        min_block, aspect: of the rectangles, see `block_mask`.
    """

    needs = frozenset({"image", "pixels"})

    def __init__(
        self,
        encoder: dict[str, Any],
        tokenizer: dict[str, Any],
        mask_count: int = 75,
        min_block: int = 16,
        aspect: float = 0.3,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, data_preprocessor)
        require_beit(self.encoder, self.encoder_cfg["name"])
        self.mask_count, self.min_block, self.aspect = mask_count, min_block, aspect
        self.grid = self.encoder.patch_embed.grid_size
        self.tokenizer = build_tokenizer(tokenizer)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.encoder.embed_dim))
        self.lm_head = nn.Linear(self.encoder.embed_dim, self.tokenizer.vocabulary)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The published start: normal weights of std 0.02, also of the patch projection; timm sets the rest so."""
        projection = self.encoder.patch_embed.proj
        for weight in (self.mask_token, self.lm_head.weight, projection.weight):
            nn.init.trunc_normal_(weight, std=0.02, a=-0.02, b=0.02)
        nn.init.zeros_(self.lm_head.bias)
        nn.init.zeros_(projection.bias)

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The cross-entropy over hidden places, and the percentage of them named rightly."""
        images = inputs["image"]
        ids = self.tokenizer.of_batch(inputs, self.grid)  # [B, N]
        mask = block_mask(len(images), self.grid, self.mask_count, images.device, self.min_block, self.aspect)
        target = ids.gather(1, mask.hidden).flatten()  # [B * M]
        scores = self.lm_head(self.encode(images, mask)).float().flatten(0, 1)  # [B * M, K]
        accuracy = 100 * (scores.detach().argmax(dim=1) == target).float().mean()
        return {"loss_token": F.cross_entropy(scores, target), "accuracy": accuracy}

    def encode(self, images: Tensor, mask: RandomMask) -> Tensor:
        """Images [B, 3, H, W] with the mask's patches replaced -> normed features of those places [B, M, D]."""
        encoder = self.encoder
        patches = encoder.patch_embed(images)  # [B, N, D]
        hidden = torch.zeros_like(patches[:, :, :1]).scatter_(1, mask.hidden.unsqueeze(2), 1.0)  # [B, N, 1]
        patches = torch.lerp(patches, self.mask_token.to(patches.dtype), hidden)
        x = torch.cat([encoder.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        if encoder.pos_embed is not None:
            x = x + encoder.pos_embed
        x = encoder.run_blocks(encoder.pos_drop(x), self.grid)[-1]  # with the bias that they share
        return encoder.norm(take(x[:, 1:], mask.hidden))


def require_beit(encoder: nn.Module, name: str) -> None:
    """Raise UserError unless the encoder is a BEiT with a norm behind its blocks."""
    if not isinstance(encoder, AnySizeBeit):
        raise UserError(
            f"encoder {name!r} is no BEiT, which masks patches in place and shares a relative position bias: choose "
            "beit_base_patch16_224, beit_large_patch16_224, beitv2_base_patch16_224 or beitv2_large_patch16_224"
        )
    if isinstance(encoder.norm, nn.Identity):
        raise UserError(
            f"encoder {name!r} has its last norm behind the pooling, but BEiT reads normed patches: add "
            "use_fc_norm=False to model.encoder.kwargs"
        )
