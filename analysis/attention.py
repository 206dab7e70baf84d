"""The attention of every block, softmax(q k^T / sqrt(d) + bias), from the queries and keys that the block really uses.

Fused kernels return no attention. timm's blocks call torch's `scaled_dot_product_attention`, so its calls in a forward
pass are watched there: with whatever bias, normalised queries or rotary positions a block hands to it, be it a plain
ViT's or a BEiT's, whose relative position bias is part of the call.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from backbones.facts import has_token_blocks
from engine.errors import UserError


class SelfAttention(TorchFunctionMode):
    """Within this context, `answer` is asked at every call of self-attention.

    Args:
        answer: (number of the call, query, key, value, bias) -> the call's result [B, heads, T, d], or None for torch's
            own. Query, key and value are [B, heads, T, d], the query already divided by sqrt(d); the bias is None or
            broadcasts to [B, heads, T, T].
    """

    def __init__(self, answer: Callable[[int, Tensor, Tensor, Tensor, Tensor | None], Tensor | None]) -> None:
        super().__init__()
        self.answer, self.calls = answer, 0

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Pass everything on; ask first where it is self-attention (pooling by attention has fewer queries)."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention and args[0].shape == args[1].shape:
            query, key, value = args[:3]
            scale = kwargs.get("scale") or query.shape[-1] ** -0.5
            result = self.answer(self.calls, query * scale, key, value, kwargs.get("attn_mask"))
            self.calls += 1
            if result is not None:
                return result
        return func(*args, **kwargs)


def softmax_attention(query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    """Scaled queries and keys [B, heads, T, d] -> float32 [B, heads, T, T], rows of which sum to 1."""
    scores = query.float() @ key.float().mT
    return (scores if bias is None else scores + bias.float()).softmax(dim=-1)


def each_block(encoder: nn.Module, images: Tensor, take: Callable[[Tensor], Any]) -> list[Any]:
    """What `take` makes of the attention [B, heads, T, T] of each block, first block first.

    Args:
        encoder: one that `grid_of` accepts. images: normalised [B, 3, H, W].

    Raises:
        UserError: blocks that attend in another way.
    """
    found = []

    def answer(_: int, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> None:
        found.append(take(softmax_attention(query, key, bias)))

    fuse(encoder)
    with SelfAttention(answer):
        encoder.forward_features(images)
    if len(found) != len(encoder.blocks):
        raise UserError(
            f"{len(found)} of the {len(encoder.blocks)} blocks of {type(encoder).__name__} showed their attention: "
            "choose a ViT or a BEiT of timm's"
        )
    return found


def fuse(encoder: nn.Module) -> None:
    """See that blocks call torch's function also where timm was told by TIMM_FUSED_ATTN to multiply by itself."""
    for module in encoder.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = True


def grid_of(encoder: nn.Module, size: int, what: str) -> tuple[int, int]:
    """(rows, columns) of patches of an image of `size` pixels per side.

    Raises:
        UserError: an encoder whose blocks do not attend to all patches; `what` opens the sentence.
    """
    if not has_token_blocks(encoder):
        raise UserError(
            f"{what}: {type(encoder).__name__} has no blocks that attend to all patches; choose a plain ViT or a BEiT"
        )
    return patch_grid(encoder, (size, size))


def patch_grid(encoder: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of a plain ViT's patches of an image of (height, width)."""
    height, width = encoder.patch_embed.patch_size
    return size[0] // height, size[1] // width
