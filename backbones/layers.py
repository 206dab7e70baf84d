"""Layers of an encoder for layer-wise learning-rate decay: the embedding, then block by block, then what follows.

timm's models name their layers (`group_matcher`), but some have no such function and some put whole stages into one
layer. Where that is so, blocks are read off the parameters' names, which in timm follow a few forms, in the order in
which the model registers them, which is the order in which it runs them.
"""

import re

from timm.models import group_parameters
from torch import nn

from engine.errors import UserError

# A block in a parameter's name: blocks of a stage, blocks of stages of blocks, stages of blocks, blocks.
BLOCK = re.compile(
    r"((?:\w+\.)*?(?:stages?|layers?)\.?\d+\.blocks\.\d+"
    r"|blocks\.\d+\.\d+"
    r"|(?:\w+\.)*?\w*(?:stages?|layers?)\.?\d+\.\d+(?:\.dense_block\d+)?"
    r"|(?:\w+\.)*?blocks\.\d+)\."
)
PLAIN_BLOCK = re.compile(r"(?:\w+\.)*?blocks\.\d+\.")  # what a stem holds in stages is no block


def layer_groups(encoder: nn.Module) -> tuple[dict[str, int], int]:
    """Number the layers of a timm encoder.

    Returns:
        (parameter name -> layer, the layer of what follows the encoder). 0 is the embedding, 1..L the blocks; what an
        encoder has after its last block, its final norm, is in L or beyond.

    Raises:
        UserError: a model without `group_matcher` whose blocks its names do not tell.
    """
    names = [name for name, _ in encoder.named_parameters()]
    blocks = _blocks_by_parameter(encoder)
    timms = _timm_groups(encoder)
    if timms is None and not blocks:
        raise UserError(
            f"{type(encoder).__name__} does not tell its layers (timm's group_matcher), so they cannot have rates of "
            "their own; leave layer decay out"
        )
    if timms is None or _is_coarse(timms, blocks):
        return _by_order(names, blocks)
    return timms, max(timms.values()) + 1


def plain_layer_groups(encoder: nn.Module) -> tuple[dict[str, int], int]:
    """BEiT's numbers for a plain ViT: 0 embedding, tokens and positions, 1..L blocks, L + 1 final norm and the rest.

    A relative position bias table of a block is in the block's layer, a shared one in 0. Errors as `layer_groups`.
    """
    names = [name for name, _ in encoder.named_parameters()]
    blocks = {name: found[0] for name in names if (found := PLAIN_BLOCK.match(name))}
    return _by_order(names, blocks) if blocks else layer_groups(encoder)


def block_names(encoder: nn.Module) -> list[str]:
    """The names of a timm encoder's blocks within it, in order; none where its parameters' names do not tell them."""
    return list(dict.fromkeys(_blocks_by_parameter(encoder).values()))


def _blocks_by_parameter(encoder: nn.Module) -> dict[str, str]:
    """{parameter: the block that holds it}; parameters outside of blocks are left out."""
    names = [name for name, _ in encoder.named_parameters()]
    return {name: found[1] for name in names if (found := BLOCK.match(name)) and _is_whole(encoder, found[1])}


def _timm_groups(encoder: nn.Module) -> dict[str, int] | None:
    if not hasattr(encoder, "group_matcher"):
        return None
    return group_parameters(encoder, encoder.group_matcher(coarse=False), reverse=True)


def _is_whole(encoder: nn.Module, path: str) -> bool:
    """Whether a module has parts: a single norm or convolution between two blocks is no block."""
    return next(encoder.get_submodule(path).children(), None) is not None


def _is_coarse(groups: dict[str, int], blocks: dict[str, str]) -> bool:
    """Whether two blocks share a layer."""
    held: dict[int, str] = {}
    return any(held.setdefault(groups[name], block) != block for name, block in blocks.items())


def _by_order(names: list[str], blocks: dict[str, str]) -> tuple[dict[str, int], int]:
    """Layers by the order of parameters: what stands between two blocks (downsampling) is in the layer of the second,
    what stands after the last is in the last layer, with what follows the encoder."""
    order = {block: layer for layer, block in enumerate(dict.fromkeys(blocks.values()), 1)}
    last = len(order) + 1
    groups, ahead = {}, last
    for name in reversed(names):
        ahead = order[blocks[name]] if name in blocks else ahead
        groups[name] = ahead
    first = next(i for i, name in enumerate(names) if name in blocks)
    return {name: 0 if i < first else groups[name] for i, name in enumerate(names)}, last
