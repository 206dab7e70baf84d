"""Densely labelled images of the pretraining split, for the oracle only."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS
from pycocotools import mask as coco_mask

from datasets.annotations import read_annotations
from datasets.images import CorruptSample, decode_image, decode_plane, is_image
from datasets.masks import encoded, whole_mask
from engine.errors import UserError
from pretrain.data.augment import to_tensor
from pretrain.data.dataset import PretrainDataset


@DATASETS.register_module()
class DenseFolder(PretrainDataset):
    """Images with semantic labels, depth and instances in the layout of the embedded scenes.

    Args:
        root: holds images/<split>/*.png, seg/<split> (class ids), depth/<split> (uint16 millimetres) and
            coco/instances_<split>.json.
        split: name of the split.
        size, views, name, corrupt_log, max_corrupt: see PretrainDataset; colours stay as they are.

    An item adds to "image": seg uint8 [S, S]; depth float32 [S, S] in metres, 0 where unknown; thing bool [S, S], true
    on objects; offset float32 [2, S, S], from each pixel of an object to its centre, (x, y) in units of S.
    """

    def __init__(self, root: str, size: int, split: str = "pretrain", **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        if self.colour is not None:
            raise UserError("train_dataloader.dataset has colour, but dense data keep theirs: leave it out")
        self.folders = {kind: Path(root, kind, split) for kind in ("images", "seg", "depth")}
        annotations = Path(root, "coco", f"instances_{split}.json")
        for path in (*self.folders.values(), annotations):
            if not path.exists():
                raise UserError(f"there is no {path}: dense data need images, seg, depth and coco below the root")
        self.files = sorted(path.name for path in self.folders["images"].iterdir() if is_image(path.name))
        self.instances = self.read_instances(annotations)

    @staticmethod
    def read_instances(path: Path) -> dict[str, list[dict]]:
        """The run-length masks of every image by its file name."""
        content = read_annotations(path)
        names = {image["id"]: Path(image["file_name"]).name for image in content["images"]}
        found: dict[str, list[dict]] = {name: [] for name in names.values()}
        for annotation in content["annotations"]:
            try:
                found[names[annotation["image_id"]]].append(annotation["segmentation"])
            except (KeyError, TypeError) as error:
                raise UserError(f"{path}: annotation {annotation.get('id')} has no mask of a listed image ({error!r}): "
                                "make the data again") from None  # fmt: skip
        return found

    def __len__(self) -> int:
        return len(self.files)

    def where(self, index: int) -> str:
        """The image file."""
        return str(self.folders["images"] / self.files[index])

    def read_map(self, kind: str, name: str) -> np.ndarray:
        """A label image as stored."""
        try:
            return decode_plane((self.folders[kind] / name).read_bytes())
        except (OSError, CorruptSample) as error:
            raise CorruptSample(f"no readable {kind} image ({error})") from None

    def load(self, index: int) -> dict[str, Any]:
        """Read all maps and crop them by one window."""
        name = self.files[index]
        try:
            image = decode_image((self.folders["images"] / name).read_bytes())
        except OSError as error:
            raise CorruptSample(error.strerror) from None
        seg, depth = self.read_map("seg", name), self.read_map("depth", name)
        try:
            size = image.shape[:2]
            masks = [encoded(whole_mask(mask, size)[0], size) for mask in self.instances.get(name, [])]
        except ValueError as error:
            raise CorruptSample(f"a mask that is not whole ({error})") from None
        instance = np.zeros(image.shape[:2], np.uint8)
        for number, mask in enumerate(coco_mask.decode(masks).transpose(2, 0, 1) if masks else (), start=1):
            instance[mask > 0] = number
        crop = self.views["image"].crop  # labels follow one window
        window = crop.draw(*image.shape[:2])
        seg, depth, instance = (
            np.ascontiguousarray(crop.apply(values, window, nearest=True)) for values in (seg, depth, instance)
        )
        return {
            "index": index,
            "image": to_tensor(crop.apply(image, window)),
            "seg": torch.from_numpy(seg),
            "depth": torch.from_numpy(depth.astype(np.float32) / 1000),
            "thing": torch.from_numpy(instance > 0),
            "offset": torch.from_numpy(centre_offsets(instance)),
        }


def centre_offsets(instance: np.ndarray) -> np.ndarray:
    """Instance numbers [S, S], 0 for none -> (x, y) from each pixel to its instance's mean position / S, [2, S, S]."""
    size = instance.shape[0]
    ids = instance.ravel()
    counts = np.maximum(np.bincount(ids), 1)
    offsets = []
    for coordinate in np.indices(instance.shape, dtype=np.float32)[::-1]:  # x, then y
        centre = np.bincount(ids, weights=coordinate.ravel()) / counts
        offsets.append(centre[instance] - coordinate)
    return (np.stack(offsets) * (instance > 0) / size).astype(np.float32)
