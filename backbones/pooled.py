"""An encoder seen as a whole image's features, for classifiers: one vector, or all tokens of the last block."""

from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones.facts import EncoderFacts
from backbones.hierarchical import stage_groups
from backbones.pyramid import EncoderPyramid
from backbones.relative_positions import At
from backbones.vit_pyramid import block_groups
from engine.errors import UserError

POOLS = ("own", "mean", "tokens")


def own_tokens(encoder: nn.Module, facts: EncoderFacts, images: Tensor) -> Tensor | None:
    """Images [B, 3, H, W] -> tokens [B, T, d] of a plain ViT behind its final norm, class token included; else None."""
    tokens = encoder.forward_features(images) if facts.plain else images
    whole = tokens.ndim == 3 and tokens.shape[-1] == facts.channels[-1]  # a SAM's ViT and ConvMixer give maps
    return tokens if whole else None


def all_tokens(encoder: nn.Module, facts: EncoderFacts, images: Tensor) -> Tensor:
    """Images [B, 3, H, W] -> tokens [B, T, d] of the last block.

    Of a plain ViT `own_tokens`; of an encoder that knows maps alone the cells of the last one, [B, h * w, d].
    """
    if (tokens := own_tokens(encoder, facts, images)) is not None:
        return tokens
    (last,) = encoder.forward_intermediates(images, indices=[facts.depth - 1], intermediates_only=True)
    return last.flatten(2).transpose(1, 2)


def pools_tokens(encoder: nn.Module, facts: EncoderFacts, image: Tensor) -> bool:
    """Whether what an encoder gives of an image [1, 3, H, W] is its `forward_head` of its own tokens, to the bit."""
    tokens = own_tokens(encoder, facts, image)
    return tokens is not None and torch.equal(encoder.forward_head(tokens), encoder(image))


@MODELS.register_module()
class PooledEncoder(EncoderPyramid):
    """A checkpoint's encoder as the backbone of a classifier.

    Args:
        checkpoint: Checkpoint folder.
        pool: "own": what the encoder itself gives, by its own pooling (class token, or mean) and final norm.
            "mean": the mean of the patches of a plain ViT's last block without its final norm, then a new LayerNorm
            (fine-tuning of MAE and BEiT); a hierarchical encoder, whose own pooling is a mean, keeps that.
            "tokens": `all_tokens`.
        drop_path_rate: Stochastic depth while fine-tuning.
        frozen: The encoder gets no gradients and stays in evaluation mode.
        relative_bias: As of `ViTPyramid`, for pool "mean" alone (CAE's fine-tuning).
        architecture: Instead of a checkpoint; see `EncoderPyramid`.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        pool: str = "own",
        drop_path_rate: float = 0.0,
        frozen: bool = False,
        relative_bias: tuple[int, int] | None = None,
        architecture: dict[str, Any] | None = None,
    ) -> None:
        if pool not in POOLS or (relative_bias is not None and pool != "mean"):
            raise UserError(f"PooledEncoder: pool {pool!r} with relative_bias {relative_bias}; pool is one of {POOLS}, "
                            "and a relative bias needs 'mean'")  # fmt: skip
        super().__init__(checkpoint, drop_path_rate, not frozen, relative_bias, architecture)
        self.pool = "own" if pool == "mean" and not self.facts.plain else pool
        self.frozen = frozen
        self._prune(self.encoder)
        # timm's width of what `encoder(images)` gives; a head may widen the last map (MobileNet)
        width = self.facts.channels[-1] if self.pool == "tokens" else self.encoder.head_hidden_size
        self.out_channels = [width]
        self.norm = nn.LayerNorm(width, eps=1e-6) if self.pool == "mean" else nn.Identity()
        self.encoder.requires_grad_(not frozen)

    def _prune(self, encoder: nn.Module) -> None:
        if self.pool == "mean":
            encoder.prune_intermediate_layers([self.facts.depth - 1], prune_norm=True, prune_head=True)

    def train(self, mode: bool = True) -> "PooledEncoder":
        """Set the mode of everything but a frozen encoder."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> features [B, d], or tokens [B, T, d]."""
        if self.pool == "tokens":
            return all_tokens(self.encoder, self.facts, images)
        if self.pool == "own":
            return self.encoder(images)
        cells = tuple(side // self.facts.strides[0] for side in images.shape[-2:])
        grid = {} if self.relative_bias is None else {"attn_mask": At(cells, None)}  # as in ViTPyramid
        (last,) = self.encoder.forward_intermediates(
            images, indices=[self.facts.depth - 1], norm=False, intermediates_only=True, **grid
        )  # [B, d, h, w]
        return self.norm(last.mean(dim=(2, 3)))

    def layer_ids(self) -> tuple[dict[str, int], int]:
        """As the adapters of dense tasks group the same encoder."""
        return block_groups(self) if self.facts.plain else stage_groups(self)
