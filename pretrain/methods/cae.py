"""CAE: predict the representation of masked patches, and from it alone their content (Chen et al. 2022; Atten4Vis/CAE).

* The encoder sees CLS and the visible patches only: Z_v, final norm, CLS dropped.
* The latent contextual regressor predicts the masked places from Z_v by cross-attention: Z_m. Its queries start as one
  mask token; keys and values are Z_v and the queries themselves. Z_v is never updated.
* The decoder sees Z_m and positions, neither Z_v nor a mask token, and predicts visual tokens or pixels.
* The alignment target is the same encoder, neither a copy nor an average, fed CLS and the masked patches only, without
  gradient.

L = CE(decoder(Z_m), ids of the masked patches) + 2 MSE(Z_m, sg(encoder(masked patches))).

The original gives queries and values a bias and keys none. A bias of the keys adds the same number to all scores of a
query, which the softmax takes out again, so timm's qkv bias makes the same function; its keys' part gets no gradient.
"""

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from timm.layers import DropPath, LayerScale, Mlp
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from engine.errors import UserError
from pretrain.base import PretrainMethod
from pretrain.parts.block_masking import block_mask
from pretrain.parts.heads import xavier_linears
from pretrain.parts.masking import take
from pretrain.parts.patches import normalise_patches, patchify
from pretrain.parts.visible_tokens import embed_tokens, fix_positions, require_droppable, run_blocks, sincos_positions
from pretrain.tokenizer.load import build_tokenizer

NORM = partial(nn.LayerNorm, eps=1e-6)  # of timm's ViT too


class RegressorBlock(nn.Module):
    """Cross-attention from the masked places to all places, then an MLP.

    With both = [z_v; x] and p = [p_v; p_m]:

        x = x + g_1 * Attention(q=LN_q(x + p_m), k=LN_k(both + p), v=LN_v(both))
        x = LN(x)               on the residual stream, unlike a pre-norm block
        x = x + g_2 * MLP(x)

    Args:
        width, heads: of the attention; the MLP is four times as wide.
        init_values: start of LayerScale g_1, g_2.
        drop_path: probability of leaving a branch out, per sample.
    """

    def __init__(self, width: int, heads: int, init_values: float, drop_path: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_q, self.norm_k, self.norm_v = NORM(width), NORM(width), NORM(width)
        self.q, self.v = nn.Linear(width, width), nn.Linear(width, width)
        self.k = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)
        self.scale_attention = LayerScale(width, init_values)
        self.norm_mlp = NORM(width)
        self.mlp = Mlp(width, 4 * width)
        self.scale_mlp = LayerScale(width, init_values)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, visible: Tensor, positions: Tensor, positions_visible: Tensor) -> Tensor:
        """Masked x [B, M, W] and visible [B, V, W] with the positions of either -> x [B, M, W]."""
        both = torch.cat([visible, x], dim=1)  # [B, V + M, W]
        k = self.k(self.norm_k(both + torch.cat([positions_visible, positions], dim=1)))
        q, v = self.q(self.norm_q(x + positions)), self.v(self.norm_v(both))
        x = x + self.drop_path(self.scale_attention(self.attend(q, k, v)))
        x = self.norm_mlp(x)
        return x + self.drop_path(self.scale_mlp(self.mlp(x)))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [B, M, W], k and v [B, V + M, W] -> [B, M, W]."""
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))  # [B, heads, K, W / heads]
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


@MODELS.register_module()
class CAE(PretrainMethod):
    """Context autoencoder.

    Args:
        encoder: see PretrainMethod; a plain ViT, LayerScale (init_values) and drop_path_rate among its kwargs.
        tokenizer: arguments of `build_tokenizer`; unused with target "pixel".
        target: "token" (ids of the visual tokenizer, cross-entropy) or "pixel" (MAE's normalised RGB, squared error).
        num_masked: masked patches, the same number in every image, in blocks: 75 of 196 in the first version, 98 in
            the later ones.
        rectangles_only: whether every block is a rectangle, as published; otherwise what no rectangle soon fits is
            masked patch by patch, which takes half the time.
        align_weight: lambda; 0 leaves the alignment out.
        align_training: whether the target's pass drops paths like the encoder's own, as in the published code.
        width, heads: of regressor and decoder; where the width is not the encoder's, a linear layer and a norm adapt
            the visible tokens and the target.
        regressor_depth, decoder_depth: number of their blocks.
        init_values: start of their LayerScale; the paper's 1e-5 belongs to ViT-L.
        drop_path: of their last block, rising linearly from 0 at the first.
    """

    needs = frozenset({"image", "pixels"})

    def __init__(
        self,
        encoder: dict[str, Any],
        tokenizer: dict[str, Any] | None = None,
        target: Literal["token", "pixel"] = "token",
        num_masked: int = 75,
        rectangles_only: bool = True,
        align_weight: float = 2.0,
        align_training: bool = True,
        width: int = 768,
        heads: int = 12,
        regressor_depth: int = 4,
        decoder_depth: int = 4,
        init_values: float = 0.1,
        drop_path: float = 0.0,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, data_preprocessor)
        require_droppable(self.encoder, self.encoder_cfg["name"])
        self.target, self.num_masked, self.rectangles_only = target, num_masked, rectangles_only
        self.align_weight, self.align_training = align_weight, align_training
        self.patch = self.encoder.patch_embed.patch_size[0]
        self.grid = self.encoder.patch_embed.grid_size
        patches = self.grid[0] * self.grid[1]
        if not 0 < num_masked < patches:
            raise UserError(f"model.num_masked is {num_masked}: choose from 1 to {patches - 1} of {patches} patches")
        fix_positions(self.encoder, first="row")

        own = self.encoder.embed_dim
        self.adaptor = nn.Sequential(nn.Linear(own, width), NORM(width)) if width != own else nn.Identity()
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("positions", sincos_positions(width, self.grid, first="row")[0], persistent=False)
        self.regressor = nn.ModuleList(
            RegressorBlock(width, heads, init_values, rate) for rate in rising(drop_path, regressor_depth)
        )
        self.regressor_norm = NORM(width)
        self.decoder = nn.Sequential(
            *(
                Block(width, heads, qkv_bias=True, init_values=init_values, drop_path=rate, norm_layer=NORM)
                for rate in rising(drop_path, decoder_depth)
            ),
            NORM(width),
        )
        frozen = None if target == "pixel" else self.build_tokenizer(tokenizer)
        self.head = nn.Linear(width, self.patch**2 * 3 if frozen is None else frozen.vocabulary)
        self.reset_parameters()
        self.tokenizer = frozen  # after the new start, which is not for its weights

    def build_tokenizer(self, spec: dict[str, Any] | None) -> nn.Module:
        """The frozen tokenizer; UserError where there is none."""
        if spec is None:
            raise UserError('model.target "token" needs model.tokenizer: give one, or choose target "pixel"')
        return build_tokenizer(spec)

    def reset_parameters(self) -> None:
        """The published start: Xavier-uniform linears; normal patch projection and tokens, std 0.02 cut at one std."""
        xavier_linears(self)
        projection = self.encoder.patch_embed.proj
        if projection.bias is not None:  # towers with a norm before the blocks have none
            nn.init.zeros_(projection.bias)
        for weight in (projection.weight, self.encoder.cls_token, self.mask_token):
            if weight is not None:
                nn.init.trunc_normal_(weight, std=0.02, a=-0.02, b=0.02)

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W] and pixels [B, 3, h, w] (for tokens) -> weighted terms, and the tokens' accuracy in %."""
        images = inputs["image"]
        mask = block_mask(len(images), self.grid, self.num_masked, images.device, rectangles_only=self.rectangles_only)
        prefix, patches = embed_tokens(self.encoder, images)  # shared by the visible and the masked pass
        visible = self.encode(prefix, take(patches, mask.keep))  # [B, V, W]
        latent = self.regress(visible, mask.keep, mask.hidden)  # [B, M, W]
        losses = self.reconstruct(self.decode(latent, mask.hidden), inputs, mask.hidden)
        if self.align_weight:
            goal = self.alignment_target(prefix, take(patches, mask.hidden))  # [B, M, W]
            losses["loss_align"] = self.align_weight * F.mse_loss(latent.float(), goal.float())
        return losses

    def encode(self, prefix: Tensor, patches: Tensor) -> Tensor:
        """Embedded prefix [B, P, D] and some patches [B, K, D] -> latents [B, K, W] for the regressor."""
        return self.adaptor(run_blocks(self.encoder, prefix, patches)[:, prefix.shape[1] :])

    @torch.no_grad()
    def alignment_target(self, prefix: Tensor, hidden: Tensor) -> Tensor:
        """Embedded prefix [B, P, D] and masked patches [B, M, D] -> their latents [B, M, W] without gradient."""
        training = self.encoder.training
        self.encoder.train(training and self.align_training)
        latent = self.encode(prefix, hidden)
        self.encoder.train(training)
        return latent

    def regress(self, visible: Tensor, keep: Tensor, hidden: Tensor) -> Tensor:
        """Z_v [B, V, W] at `keep` [B, V] -> Z_m [B, M, W], the predicted latents at `hidden` [B, M]."""
        positions, positions_visible = self.positions[hidden], self.positions[keep]  # [B, M, W], [B, V, W]
        x = self.mask_token.expand(*hidden.shape, -1)
        for block in self.regressor:
            x = block(x, visible, positions, positions_visible)
        return self.regressor_norm(x)

    def decode(self, latent: Tensor, places: Tensor) -> Tensor:
        """Latents [B, K, W] at `places` [B, K] -> scores of visual tokens [B, K, vocabulary], or pixels."""
        return self.head(self.decoder(latent + self.positions[places]))

    def reconstruct(self, prediction: Tensor, inputs: dict[str, Tensor], hidden: Tensor) -> dict[str, Tensor]:
        """Predictions [B, M, C] at `hidden` [B, M] against the image's tokens or pixels, a mean over places."""
        if self.target == "pixel":
            goal = normalise_patches(take(patchify(inputs["image"], self.patch), hidden))  # [B, M, p * p * 3]
            return {"loss_pixel": F.mse_loss(prediction.float(), goal)}
        ids = self.tokenizer.of_batch(inputs, self.grid)  # [B, N]
        ids, scores = ids.gather(1, hidden), prediction.float()  # [B, M], [B, M, vocabulary]
        accuracy = 100 * (scores.detach().argmax(dim=-1) == ids).float().mean()
        return {"loss_token": F.cross_entropy(scores.flatten(0, 1), ids.flatten()), "accuracy": accuracy}


def rising(last: float, depth: int) -> list[float]:
    """Drop-path rates of `depth` blocks: linear from 0 to `last`."""
    return [last * k / max(1, depth - 1) for k in range(depth)]
