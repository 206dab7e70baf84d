"""The maps of a frozen encoder, for probes of single places: what the adapters of the dense heads give, unlearned.

Of a plain ViT the blocks at every quarter of its depth behind its final norm, as DINOv2 takes them (3, 6, 9, 12 of 12,
counted from 1); of a hierarchical encoder the ends of its four stages. Inputs of any size are padded and maps cropped
as in `backbones/pyramid.py`; images are normalised by the checkpoint's own mean and std.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.checkpoint import read_checkpoint
from backbones.encoder import build_encoder, encoder_facts
from backbones.feature_store import digest_of
from backbones.hierarchical import HierarchicalPyramid
from backbones.preprocess import ImagePreprocessor
from backbones.pyramid import EncoderPyramid
from backbones.vit_pyramid import ViTPyramid
from engine.errors import UserError
from engine.transfer import moved

TAPS = ("last", "four")
PIXELS = 128 * 224 * 224  # of all images of one forward pass
BATCH = 128  # images, where they are small


class PatchMaps:
    """The encoder of any checkpoint folder that feeds dense heads, frozen.

    Args:
        folder: a checkpoint of any method.

    Attributes: model, the adapter; meta, the checkpoint's `checkpoint.json`; store, the folder beside the checkpoint
    where features may be kept; weights, `digest_of` the model.

    Raises:
        UserError: no checkpoint, a damaged one, or an encoder that cannot feed dense heads.
    """

    def __init__(self, folder: str | Path) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.store = Path(folder).absolute().parent / "features"
        self.model = frozen_adapter(folder).to(self.device).eval().requires_grad_(False)
        self.meta = self.model.meta
        image = self.meta["image"]
        self.preprocessor = ImagePreprocessor(image["mean"], image["std"]).to(self.device)
        self.weights = digest_of(self.model)

    @torch.no_grad()  # and no inference mode: what is made there cannot be trained on
    def maps(self, images: Tensor, taps: str) -> Tensor:
        """Images uint8 [B, 3, H, W] -> one map of each, float32 [B, D, h, w], on the device.

        Args:
            taps: "last": the last block's or stage's map. "four": all four, brought to the third one's grid (a plain
                ViT's have one grid; of a hierarchical encoder it is that of stride 16), one after another in D.

        Raises:
            UserError: other taps.
        """
        if taps not in TAPS:
            raise UserError(f"a probe reads the taps {' or '.join(map(repr, TAPS))}, not {taps!r}")
        found = self.model(self.preprocessor.normalise(moved(images, self.device)))
        return found[-1].float() if taps == "last" else torch.cat(on_one_grid(found), dim=1).float()

    def stride(self, taps: str) -> int:
        """Pixels per cell of the maps of these taps."""
        return self.model.out_strides[-1 if taps == "last" else 2]


def frozen_adapter(folder: str | Path) -> EncoderPyramid:
    """The adapter of a checkpoint's encoder with nothing of its own that would have to be learned."""
    encoder = read_checkpoint(folder)["encoder"]
    facts = encoder_facts(**encoder)
    if not facts.plain:
        return HierarchicalPyramid(str(folder))
    with torch.device("meta"):
        normed = not isinstance(getattr(build_encoder(**encoder), "norm", nn.Identity()), nn.Identity)
    return ViTPyramid(str(folder), quarters(facts.depth), pyramid=False, final_norm=normed)


def quarters(depth: int) -> tuple[int, ...]:
    """The 0-based blocks that end each quarter of `depth` blocks."""
    return tuple(max(0, depth * quarter // 4 - 1) for quarter in (1, 2, 3, 4))


def on_one_grid(maps: tuple[Tensor, ...]) -> list[Tensor]:
    """Maps [B, c, h, w] of four grids -> of the third one's, by antialiased bilinear interpolation."""
    grid = maps[2].shape[-2:]
    return [found if found.shape[-2:] == grid else
            F.interpolate(found.float(), size=grid, mode="bilinear", antialias=True) for found in maps]  # fmt: skip


def batch_of(size: tuple[int, int]) -> int:
    """Images of a size (height, width) in one forward pass."""
    return max(1, min(BATCH, PIXELS // (size[0] * size[1])))
