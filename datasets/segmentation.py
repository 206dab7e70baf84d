"""Image and label folders of any origin for mmseg: pairs complete, files whole, ids known, or an error that says so."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import DATASETS, TRANSFORMS
from mmseg.datasets import BaseSegDataset

from datasets import confusion, fast_transforms, thin_images  # noqa: F401  registers what configs name
from datasets.images import IMAGE_SUFFIXES, header_of, read_bgr, read_plane, turn
from engine.errors import UserError

thin_images.install()
IGNORED = 255
"""mmseg's `ignore_index`: the pixel takes part in no loss and no metric."""

MAX_CLASSES = UNDECLARED = 254  # as training ids 0 .. 253 are classes
_LARGEST_ID = 65535


def pair_files(
    data_root: str | Path, images: str, labels: str, image_suffix: str | None = None, label_suffix: str | None = None
) -> list[tuple[str, str]]:
    """Return the (image, label) paths of two parallel folder trees, in the order of their names.

    A pair has the same relative path without suffix. A suffix may be longer than an extension, as in Cityscapes'
    "_leftImg8bit.png" and "_gtFine_labelTrainIds.png"; without one, any usual image extension counts.
    Raises UserError for a missing or empty folder, two files of one name, and a file without its partner.
    """
    pairs, faults = look_for_pairs(data_root, images, labels, image_suffix, label_suffix)
    if faults:
        more = f" ({len(faults)} such files beside {len(pairs)} pairs)"
        raise UserError(faults[0] + more)
    return pairs


def look_for_pairs(
    data_root: str | Path, images: str, labels: str, image_suffix: str | None = None, label_suffix: str | None = None
) -> tuple[list[tuple[str, str]], list[str]]:
    """The pairs of `pair_files`, and a sentence for each file that is without its partner or has another's name.

    Raises UserError for a missing or empty folder.
    """
    faults: list[str] = []
    image_files = _files_by_name(Path(data_root), images, image_suffix, faults)
    label_files = _files_by_name(Path(data_root), labels, label_suffix, faults)
    for here, there, what, folder in (
        (image_files, label_files, "label", labels), (label_files, image_files, "image", images),
    ):  # fmt: skip
        for name in sorted(here.keys() - there.keys()):
            where = Path(data_root) / folder
            faults.append(f"{here[name]}: no {what} of the same name in {where}; add the {what} or remove the file")
    both = sorted(image_files.keys() & label_files.keys())
    return [(str(image_files[name]), str(label_files[name])) for name in both], faults


def _files_by_name(root: Path, folder: str, suffix: str | None, faults: list[str]) -> dict[str, Path]:
    """Return {relative path without suffix: path} of the images below root/folder; of two of one name, the first."""
    top = root / folder
    if not top.is_dir():
        raise UserError(f"{top}: no such folder; put the data there, or correct data.root and its folders")
    suffixes = (suffix,) if suffix else IMAGE_SUFFIXES
    found: dict[str, Path] = {}
    for path in sorted(top.rglob("*")):
        end = next((end for end in suffixes if path.name.lower().endswith(end.lower())), None)
        if end is None or _hidden(path.relative_to(top)) or not path.is_file():
            continue
        name = path.relative_to(top).as_posix()[: -len(end)]
        if name in found:
            faults.append(f"{path}: has the same name as {found[name]}; keep one of the two")
        else:
            found[name] = path
    if not found:
        files = [path for path in top.rglob("*") if path.is_file() and not _hidden(path.relative_to(top))]
        others = Counter(path.suffix for path in files).most_common(3)
        held = f", but {' and '.join(f'{n:,} of {end}' for end, n in others)}: convert them, or" if others else ";"
        raise UserError(f"{top}: no file ends in {', '.join(suffixes)}{held} check data.root and its folders")
    return found


def _hidden(path: Path) -> bool:
    """Whether a file or a folder above it is hidden, as editors and file managers leave them."""
    return any(part.startswith(".") for part in path.parts)


@dataclass(frozen=True)
class LabelIds:
    """What the ids in a label file mean: `table[id]`, uint8 [65536], is the training id, IGNORED or UNDECLARED."""

    table: np.ndarray
    allowed: str

    @classmethod
    def build(cls, classes: int, ignore: Sequence[int], reduce_zero_label: bool) -> "LabelIds":
        """Declare `classes` ids from 0 (from 1 with `reduce_zero_label`, where 0 is ignored), `ignore`, and 255."""
        if classes == 1:
            raise UserError("classes: one name given, and with one class there is nothing to tell apart; name the "
                            "background too, and give its pixels an id of their own")  # fmt: skip
        if not 2 <= classes <= MAX_CLASSES:
            raise UserError(f"classes: {classes} names given, 2 to {MAX_CLASSES} are possible; correct data.classes")
        first = int(reduce_zero_label)
        ignored = sorted({*ignore, IGNORED, *([0] if reduce_zero_label else [])})
        table = np.full(_LARGEST_ID + 1, UNDECLARED, dtype=np.uint8)
        table[first : first + classes] = np.arange(classes)
        for label in ignored:
            if not 0 <= label <= _LARGEST_ID or first <= label < first + classes:
                raise UserError(
                    f"ignore: id {label} is {'a class of its own' if label >= 0 else 'negative'}; ids to ignore lie "
                    f"outside {first}..{first + classes - 1} and below {_LARGEST_ID + 1}; correct the data section"
                )
            table[label] = IGNORED
        return cls(table, f"{first}..{first + classes - 1} and ignored {', '.join(map(str, ignored))}")

    def apply(self, labels: np.ndarray, path: str) -> np.ndarray:
        """Return training ids (uint8, same shape); UserError names the first id of `path` that was not declared."""
        if labels.dtype == np.uint8:
            mapped = cv2.LUT(labels, self.table[:256])
        else:
            if labels.min() < 0 or labels.max() > _LARGEST_ID:
                self._refuse(int(labels.min() if labels.min() < 0 else labels.max()), path)
            mapped = self.table[labels]
        if (strange := mapped == UNDECLARED).any():
            self._refuse(int(labels[strange].min()), path)
        return mapped

    def _refuse(self, label: int, path: str) -> None:
        raise UserError(
            f"{path}: label id {label} is not allowed (allowed: {self.allowed}); "
            "add its class to data.classes or the id to data.ignore"
        )


@DATASETS.register_module()
class SegFolder(BaseSegDataset):
    """Images and integer label maps in two parallel folder trees, as mmseg's own data sets keep them.

    Args:
        data_root: folder of the data set.
        images, labels: the two folders below it, for one split.
        classes: names in the order of the ids.
        palette: one RGB triple per class for pictures; mmseg draws a fixed one where it is None.
        ignore: ids in the files that count nowhere, e.g. (11,) for CamVid's void. 255 always is one.
        reduce_zero_label: ids start at 1 and 0 is ignored, as in ADE20K.
        image_suffix, label_suffix: see `pair_files`.
        pipeline, test_mode, indices: as in mmseg.

    Raises UserError for everything `pair_files` and `LabelIds` refuse.
    """

    def __init__(
        self,
        data_root: str,
        images: str,
        labels: str,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        ignore: Sequence[int] = (),
        reduce_zero_label: bool = False,
        image_suffix: str | None = None,
        label_suffix: str | None = None,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        classes = list(classes)
        palette = [list(colour) for colour in palette or []]
        if palette and len(palette) != len(classes):
            raise UserError(f"palette: {len(palette)} colours for {len(classes)} classes; give one per class or none")
        self.pairs = pair_files(data_root, images, labels, image_suffix, label_suffix)
        self.label_ids = LabelIds.build(len(classes), ignore, reduce_zero_label)
        super().__init__(
            data_prefix={"img_path": images, "seg_map_path": labels},
            data_root=data_root,
            metainfo={"classes": classes, "palette": palette},
            reduce_zero_label=reduce_zero_label,
            pipeline=list(pipeline),
            test_mode=test_mode,
            indices=indices,
        )

    def load_data_list(self) -> list[dict]:
        """Return one dict per pair with the keys that mmseg's transforms read."""
        pairs = self.__dict__.pop("pairs")  # mmengine packs what is returned into arrays, which workers share
        return [
            {
                "img_path": image,
                "seg_map_path": label,
                "label_map": None,
                "reduce_zero_label": self.reduce_zero_label,
                "seg_fields": [],
            }
            for image, label in pairs
        ]

    def get_data_info(self, idx: int) -> dict:
        """Return the dict of sample `idx`, with the meaning of its ids for `LoadLabels`."""
        return {**super().get_data_info(idx), "label_ids": self.label_ids}


@TRANSFORMS.register_module()
class LoadImageStrict(BaseTransform):
    """Read `img_path` into `img` (uint8 [H, W, 3], BGR), with `img_shape` and `ori_shape`; UserError if unreadable."""

    def transform(self, results: dict) -> dict:
        """Add the image and its sizes."""
        image = read_bgr(results["img_path"])
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results


@TRANSFORMS.register_module()
class LoadLabels(BaseTransform):
    """Read `seg_map_path` into `gt_seg_map` (uint8 [H, W], training ids); needs `SegFolder` and a loaded image.

    Raises UserError for a file that cannot be read, another size than the image's, or an id nobody declared.
    """

    def transform(self, results: dict) -> dict:
        """Add the label map and list it in `seg_fields`, so that flips, crops and resizes treat it with the image."""
        path = results["seg_map_path"]
        labels = read_plane(path)
        labels = fit_to_image(labels, results, path)
        results["gt_seg_map"] = results["label_ids"].apply(labels, path)
        results["seg_fields"].append("gt_seg_map")
        return results


def fit_to_image(plane: np.ndarray, results: dict, path: str) -> np.ndarray:
    """Return a label or depth map [H, W] as its image is shown.

    A map of the size of the shown image was drawn on it. One of the size that the file has before EXIF's orientation
    turns it was drawn on the stored pixels, and is turned with them. UserError for any other size.
    """
    size = tuple(results["ori_shape"])
    if plane.shape == size:
        return plane
    if plane.shape == size[::-1] and (header := header_of(results["img_path"])).orientation >= 5:
        return turn(plane, header.orientation)
    (h, w), (image_h, image_w) = plane.shape, size
    raise UserError(
        f"{path}: is {w}x{h} but its image {results['img_path']} is {image_w}x{image_h}; make their sizes agree"
    )
