"""What a model predicts, as files that others read: class maps, depth maps and COCO's result list.

| kind | files | numbers |
| seg | `<image>.png`, 8 bits | the label values of the data's own files, not training ids |
| depth | `<image>.png`, 16 bits | units of which `units_per_metre` make a metre: millimetres, or coarser where 16 bits
  do not reach |
| coco | `detections.json` | COCO's result list: boxes [x, y, width, height], scores, masks as run lengths |

`index.json` beside them says which file is of which image, and what the numbers mean. docs/results.md shows the rest.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmdet.structures.mask import encode_mask_results
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from engine.errors import UserError
from engine.files import write_bytes, write_json, write_text
from engine.testing import first_of, in_order

SCHEMA, VERSION = "densebench/predictions", 1
FOLDER, INDEX, DETECTIONS = "predictions", "index.json", "detections.json"
LARGEST = np.iinfo(np.uint16).max
MILLIMETRES = 1000  # in a metre


class ClassMaps:
    """Class maps in the data's own label values.

    Args:
        folder: to write to.
        classes: names in the order of the training ids.
        first: the label value of the first class: 1 where the data's 0 is ignored (`reduce_zero_label`), else 0.
    """

    kind = "seg"

    def __init__(self, folder: Path, classes: Sequence[str], first: int) -> None:
        self.folder, self.first = folder, first
        self.about = {"values": {name: first + k for k, name in enumerate(classes)}}

    def add(self, sample: Any, image: str, number: int) -> dict[str, Any]:
        """Write one sample's map [H, W] and return its entry of the index."""
        labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        return {"image": image, "file": write_plane(self.folder, image, (labels + self.first).astype(np.uint8))}

    def close(self, entries: list[dict[str, Any]]) -> None:
        """Write the index."""
        write_index(self.folder, self, entries)


class DepthMaps:
    """16-bit depth maps.

    Args:
        folder: to write to. max_depth: the largest depth that the model gives, in metres.
    """

    kind = "depth"

    def __init__(self, folder: Path, max_depth: float) -> None:
        self.folder, self.units = folder, units_per_metre(max_depth)
        self.about = {"units_per_metre": self.units}

    def add(self, sample: Any, image: str, number: int) -> dict[str, Any]:
        """Write one sample's map [H, W] and return its entry of the index."""
        depth = sample.pred_depth_map.data.squeeze(0).cpu().numpy().astype(np.float64)
        stored = np.clip(np.rint(depth * self.units), 1, LARGEST)  # 0 would say "not measured"
        return {"image": image, "file": write_plane(self.folder, image, stored.astype(np.uint16))}

    def close(self, entries: list[dict[str, Any]]) -> None:
        """Write the index."""
        write_index(self.folder, self, entries)


class Detections:
    """Boxes and masks in COCO's result list.

    Args:
        folder: to write to. classes: names in the order of the training ids. ids: their category ids.
    """

    kind = "coco"

    def __init__(self, folder: Path, classes: Sequence[str], ids: Sequence[int]) -> None:
        self.folder, self.ids = folder, list(ids)
        self.about = {"categories": [{"id": k, "name": name} for k, name in zip(self.ids, classes, strict=True)]}

    def add(self, sample: Any, image: str, number: int) -> dict[str, Any]:
        """Return one sample's entry of the index, with its detections."""
        number = sample.metainfo.get("img_id", number)
        height, width = sample.ori_shape
        found = detections(sample.pred_instances, number, self.ids)
        return {"id": number, "file_name": image, "height": height, "width": width, "detections": found}

    def close(self, entries: list[dict[str, Any]]) -> None:
        """Write the detections and the index."""
        found = [one for entry in entries for one in entry.pop("detections")]
        write_text(self.folder / DETECTIONS, json.dumps(found, allow_nan=False) + "\n")
        write_index(self.folder, self, entries)


Writer = ClassMaps | DepthMaps | Detections


def units_per_metre(max_depth: float) -> int:
    """Units of a 16-bit depth map in a metre: millimetres, or as many whole ones as reach `max_depth` metres.

    Raises:
        UserError: more than 65,535 m.
    """
    if max_depth > LARGEST:
        raise UserError(f"depths up to {max_depth} m do not fit a 16-bit map of metres: lower max_depth")
    return int(min(MILLIMETRES, LARGEST // max_depth))


def write_plane(folder: Path, image: str, plane: np.ndarray) -> str:
    """Write a map [H, W] as PNG under the name of its image; returns the file's name below `folder`."""
    name = Path(image).with_suffix(".png").as_posix()
    write_bytes(folder / name, cv2.imencode(".png", plane)[1].tobytes())
    return name


def write_index(folder: Path, writer: Writer, entries: list[dict[str, Any]]) -> None:
    """Write `index.json`."""
    head = {"schema": SCHEMA, "version": VERSION, "kind": writer.kind, **writer.about}
    write_json(folder / INDEX, {**head, "images": entries})


def detections(found: Any, image: int, ids: Sequence[int]) -> list[dict[str, Any]]:
    """One image's `pred_instances` as entries of COCO's result list, with the numbers that mmdet's metric evaluates."""
    boxes, scores, labels = (getattr(found, name).cpu() for name in ("bboxes", "scores", "labels"))
    masks = encode_mask_results(found.masks.cpu().numpy()) if "masks" in found else [None] * len(labels)
    entries = []
    for (x1, y1, x2, y2), score, label, mask in zip(
        boxes.tolist(), scores.tolist(), labels.tolist(), masks, strict=True
    ):
        entry = {"image_id": image, "category_id": ids[label], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        if mask is not None:
            entry["segmentation"] = {"size": list(mask["size"]), "counts": mask["counts"].decode()}
        entries.append(entry)
    return entries


def names_below(top: Path, paths: Iterable[str | Path]) -> dict[str, str]:
    """{path: name below `top`} of images whose maps take their names.

    Raises:
        UserError: two images whose maps would have one name.
    """
    names, taken = {}, {}
    for path in map(str, paths):
        names[path] = Path(path).relative_to(top).as_posix()
        other = taken.setdefault(Path(names[path]).with_suffix(""), path)
        if other != path:
            raise UserError(f"{other} and {path} would have one name without their endings: rename one of them")
    return names


class PredictionHook(Hook):
    """Save the predictions of a test below `<work_dir>/predictions`, as they are evaluated.

    Args:
        data: the configuration's data section.
        model: the configuration's model.
    """

    def __init__(self, data: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        self.data, self.model = data, model
        self.entries: list[dict[str, Any]] = []

    def before_test_epoch(self, runner: Runner) -> None:
        """Learn what the numbers mean from the test set."""
        dataset, folder = runner.test_dataloader.dataset, Path(runner.work_dir, FOLDER)
        self.top, self.entries = Path(dataset.data_prefix["img" if self.data["kind"] == "coco" else "img_path"]), []
        if self.data["kind"] == "seg":
            self.writer: Writer = ClassMaps(folder, dataset.metainfo["classes"], int(dataset.reduce_zero_label))
        elif self.data["kind"] == "depth":
            self.writer = DepthMaps(folder, self.model["decode_head"]["max_depth"])
        else:
            self.writer = Detections(folder, dataset.metainfo["classes"], dataset.cat_ids)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence | None = None, outputs: Sequence | None = None
    ) -> None:
        """Write the maps of a batch."""
        for number, sample in enumerate(outputs, start=first_of(runner, batch_idx) + 1):
            image = Path(sample.img_path).relative_to(self.top).as_posix()
            self.entries.append(self.writer.add(sample, image, number))

    def after_test_epoch(self, runner: Runner, metrics: Mapping | None = None) -> None:
        """Gather what all processes found, and write the index."""
        loader = runner.test_dataloader
        entries = in_order(self.entries, len(loader.dataset), loader.batch_size)
        if is_main_process():
            self.writer.close(entries)
