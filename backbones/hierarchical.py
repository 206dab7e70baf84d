"""Hierarchical timm encoders (ResNet, Swin, FastViT/MobileCLIP, MobileNet, ConvNeXt, ...) as a four-level pyramid."""

from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones.facts import check_pyramid
from backbones.layers import layer_groups
from backbones.pyramid import EncoderPyramid, crop_to_input, pad_to_multiple
from engine.errors import UserError


def stage_groups(adapter: EncoderPyramid) -> tuple[dict[str, int], int]:
    """Layer-decay groups of an adapter of any timm encoder, as `EncoderPyramid.layer_ids` returns them: stem first,
    then block by block (`layer_groups`), and one more for what follows the encoder."""
    inner, last = layer_groups(adapter.encoder)
    return {f"encoder.{name}": group for name, group in inner.items()}, last


@MODELS.register_module()
class HierarchicalPyramid(EncoderPyramid):
    """The maps at the end of the last four stages as they are, with no norm and no added layer.

    Args:
        checkpoint: Checkpoint folder of a hierarchical encoder.
        drop_path_rate: Stochastic depth while fine-tuning.
        architecture: Of a hierarchical encoder, instead of a checkpoint; see `EncoderPyramid`.

    Raises:
        UserError: as `load_encoder`; a plain ViT; an encoder with fewer than four stages.
    """

    def __init__(
        self, checkpoint: str | None = None, drop_path_rate: float = 0.0, architecture: dict[str, Any] | None = None
    ) -> None:
        super().__init__(checkpoint, drop_path_rate, architecture=architecture)
        name = self.meta["encoder"]["name"]
        if self.facts.plain:
            raise UserError(
                f"HierarchicalPyramid: {name} in {checkpoint or 'architecture'} is a plain ViT; use ViTPyramid"
            )
        check_pyramid(name, self.facts)
        self.stages = list(self.facts.stages)
        self.out_strides = [self.facts.strides[stage] for stage in self.stages]
        self.out_channels = [self.facts.channels[stage] for stage in self.stages]
        self._prune(self.encoder)

    def _prune(self, encoder: nn.Module) -> None:
        encoder.prune_intermediate_layers(self.stages, prune_norm=True, prune_head=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map images [B, 3, H, W] of any size to four maps [B, c, ceil(H/s), ceil(W/s)], s in `out_strides`."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.facts.multiple)
        maps = self.encoder.forward_intermediates(x, indices=self.stages, intermediates_only=True)
        return tuple(crop_to_input(m, height, width, stride) for m, stride in zip(maps, self.out_strides, strict=True))

    def layer_ids(self) -> tuple[dict[str, int], int]:
        """Stem and blocks, see `stage_groups`."""
        return stage_groups(self)
