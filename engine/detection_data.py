"""COCO-format detection data with checks that name the fault."""

import json
from pathlib import Path

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS

from engine.errors import UserError


@DATASETS.register_module()
class CocoFolder(CocoDataset):
    """mmdet's CocoDataset for any COCO JSON and image folder.

    Raises:
        UserError: the JSON or an image is missing or damaged, the classes asked for are not the file's, or an
            annotation names an unknown category.
    """

    def load_data_list(self) -> list[dict]:
        """Check the annotation file, then let mmdet read it."""
        path = Path(self.ann_file)
        try:
            content = json.loads(path.read_text())
            categories = {c["id"]: c["name"] for c in content["categories"]}
            images = {i["id"]: i["file_name"] for i in content["images"]}
            annotations = content["annotations"]
        except FileNotFoundError:
            raise UserError(f"there is no annotation file {path}: check root and annotations of the data") from None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a COCO annotation file ({error!r}): is it whole?") from None
        missing = sorted(set(self.metainfo["classes"]) - set(categories.values()))
        if missing:
            raise UserError(f"{path} has no category {missing}; it has {sorted(categories.values())}")
        for annotation in annotations:
            if annotation["category_id"] not in categories:
                raise UserError(
                    f"{path}: annotation {annotation['id']} has category {annotation['category_id']}, known are "
                    f"{sorted(categories)}"
                )
            if annotation["image_id"] not in images:
                raise UserError(
                    f"{path}: annotation {annotation['id']} is of image {annotation['image_id']}, which is not listed"
                )
        folder = Path(self.data_prefix["img"])
        absent = [name for name in images.values() if not (folder / name).is_file()]
        if absent:
            raise UserError(f"{len(absent)} of {len(images)} images of {path} are not in {folder}, first {absent[0]}")
        return super().load_data_list()
