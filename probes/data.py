"""Labelled images of a split for dense probes: which images there are, and each one's label map at its own size."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import Config

from datasets.depth import DepthFolder, LoadDepth
from datasets.images import header_of, read_rgb
from datasets.parallel import each
from datasets.sections import Depth, Seg
from datasets.segmentation import LoadLabels, SegFolder
from engine.errors import UserError


@dataclass(frozen=True)
class LabelledImages:
    """Image files, and what reads the label or depth map [H, W] of one by its number; errors as the heads' loaders'."""

    files: list[Path]
    label: Callable[[int], np.ndarray]

    def __len__(self) -> int:
        return len(self.files)

    def labels(self, size: tuple[int, int]) -> np.ndarray:
        """All label maps at one size (height, width), nearest neighbour: [N, height, width]."""
        found = each(lambda k: resized(self.label(k), size, "nearest"), range(len(self)), "labels", "img")
        return np.stack(list(found))


def tested_split(cfg: Config) -> str:
    """Test images, which are only ever reported; validation images in a trial."""
    return "val" if cfg.role == "trial" else "test"


def segmentation(data: Seg, split: str) -> LabelledImages:
    """The images of a split with their class maps, uint8, 255 ignored."""
    pairs = SegFolder(
        **data.folders(split), labels=data.labels.format(split=data.named(split)), classes=data.classes,
        palette=data.palette, ignore=data.ignore, reduce_zero_label=data.reduce_zero_label,
    )  # fmt: skip
    return labelled(pairs, lambda described: LoadLabels()(described)["gt_seg_map"])


def depths(data: Depth, split: str) -> LabelledImages:
    """The images of a split with their depth maps, float32 in metres, 0 where nothing was measured."""
    pairs = DepthFolder(
        **data.folders(split), depths=data.labels.format(split=data.named(split)), depth_scale=data.depth_scale,
        max_depth=data.max_depth,
    )  # fmt: skip
    return labelled(pairs, lambda described: LoadDepth()(described)["gt_depth_map"])


def labelled(pairs: SegFolder | DepthFolder, load: Callable[[dict], np.ndarray]) -> LabelledImages:
    """The images of a data set of pairs, and `load` of what its sample says of itself."""
    if not len(pairs):
        raise UserError(f"{pairs.data_root} holds no pair of image and label: check its folders and splits")

    def label(number: int) -> np.ndarray:
        described = pairs.get_data_info(number)
        return load({**described, "ori_shape": header_of(described["img_path"]).shown})

    return LabelledImages([Path(pairs.get_data_info(k)["img_path"]) for k in range(len(pairs))], label)


def image(file: Path, size: tuple[int, int]) -> np.ndarray:
    """An image file -> uint8 RGB [height, width, 3], resized as the test pipelines of the heads do (bilinear)."""
    return resized(read_rgb(file), size, "bilinear")


def resized(pixels: np.ndarray, size: tuple[int, int], how: str) -> np.ndarray:
    """[H, W, ...] -> [height, width, ...]; the aspect is not kept."""
    height, width = size
    return pixels if pixels.shape[:2] == size else mmcv.imresize(pixels, (width, height), interpolation=how)
