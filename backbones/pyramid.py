"""What both adapters share: weights from a checkpoint folder that mmengine cannot overwrite, and aligned map sizes.

Map sizes: cell (i, j) of a map of stride s covers pixels [i s, (i + 1) s) x [j s, (j + 1) s) of the input, whatever the
input's size. An input that is no multiple of what the encoder needs is padded with zeros (the mean colour, after
normalisation) at the right and bottom, and each map is cropped to ceil(height / s) x ceil(width / s): the size that a
strided convolution with same padding gives, so heads line up with the input.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from backbones.added_bias import add_relative_bias
from backbones.checkpoint import load_encoder
from backbones.encoder import build_encoder, encoder_facts
from backbones.facts import EncoderFacts
from backbones.ledger import Ledger
from backbones.relative_positions import TABLE, unshare_tables
from engine.errors import UserError


class EncoderPyramid(BaseModule):
    """Base of the adapters: four maps from a timm encoder that comes from a checkpoint folder.

    A finished model needs no such folder: it is built from `architecture` alone, {"name", "kwargs"} as a checkpoint's
    "encoder", with random weights that the model's own then replace.

    Attributes:
        encoder: The timm model, without the parts that no map depends on (so every parameter gets a gradient).
        out_channels: Channels of the four maps.
        out_strides: Pixels per cell of the four maps.
        meta: The checkpoint's meta data; of an encoder by its architecture {"encoder"} alone.
        facts: What the encoder is.
        ledger: How the checkpoint's keys were taken.
    """

    out_channels: list[int]
    out_strides: list[int]

    def __init__(
        self,
        checkpoint: str | None,
        drop_path_rate: float,
        unshare: bool = False,
        relative_bias: tuple[int, int] | None = None,
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if (checkpoint is None) == (architecture is None):
            raise UserError(f"{type(self).__name__} needs a checkpoint folder or the architecture of an encoder: give "
                            "one of the two")  # fmt: skip
        self.checkpoint, self.architecture = checkpoint and str(checkpoint), architecture
        self.drop_path_rate, self.unshare, self.relative_bias = drop_path_rate, unshare, relative_bias
        self.encoder, self.meta, self.ledger = self._load()
        self.facts = encoder_facts(**self.meta["encoder"])

    def _load(self) -> tuple[nn.Module, dict[str, Any], Ledger]:
        # None stands for timm's own default, so that encoders without stochastic depth can be built too.
        overrides = {"drop_path_rate": self.drop_path_rate or None}
        if self.checkpoint is not None:
            encoder, meta, ledger = load_encoder(self.checkpoint, **overrides)
        else:
            name, kwargs = self.architecture["name"], dict(self.architecture["kwargs"])
            encoder, meta = build_encoder(name, {**kwargs, **overrides}), {"encoder": {"name": name, "kwargs": kwargs}}
            ledger = Ledger((), {}, {}, {}, dict.fromkeys(encoder.state_dict(), "random: built by its architecture"))
        if self.unshare:
            ledger = unshare_tables(encoder, ledger)
        if self.relative_bias is not None:
            ledger = add_relative_bias(encoder, ledger, self.relative_bias)
        return encoder, meta, ledger

    def _prune(self, encoder: nn.Module) -> None:
        """Remove what no map depends on."""
        raise NotImplementedError

    def init_weights(self) -> None:
        """Restore the checkpoint's weights (random ones where there is only an architecture).

        mmengine calls this at the start of training, after initialisers of parent modules, which may have touched the
        encoder. Its own version would call timm's init_weights, which starts the encoder from scratch.
        """
        fresh = self._load()[0]
        self._prune(fresh)
        self.encoder.load_state_dict(fresh.state_dict(), strict=True)
        self._is_init = True

    def layer_ids(self) -> tuple[dict[str, int], int]:
        """Return (parameter name within this module -> layer-decay group, the last group).

        Group 0 is the embedding; the last group, for everything after the encoder, has the full learning rate.
        """
        raise NotImplementedError

    def no_decay_names(self) -> set[str]:
        """Names within this module of parameters that take no weight decay though they are not 1-D (positions...)."""
        listed = self.encoder.no_weight_decay() if hasattr(self.encoder, "no_weight_decay") else set()
        names = {name for name, _ in self.encoder.named_parameters()}
        listed = {*listed, TABLE}  # timm says so of its own tables too
        return {f"encoder.{name}" for name in names if any(name == n or name.endswith(f".{n}") for n in listed)}


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad [B, C, H, W] with zeros at the right and bottom to multiples of `multiple`."""
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return functional.pad(x, (0, right, 0, bottom)) if bottom or right else x


def crop_to_input(x: Tensor, height: int, width: int, stride: int | Fraction) -> Tensor:
    """Crop a map [B, C, h, w] of the given stride to the cells that an input of height x width touches.

    In whole numbers alone, since height and width are symbols while a model is exported.
    """
    stride = Fraction(stride)
    rows, columns = (-(-side * stride.denominator // stride.numerator) for side in (height, width))  # rounded up
    return x[..., :rows, :columns]


def kind_of(facts: EncoderFacts) -> str:
    """Name of the adapter that serves an encoder."""
    return "ViTPyramid" if facts.plain else "HierarchicalPyramid"
