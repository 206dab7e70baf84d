"""How many detections and proposals of an image a detector keeps: from the objects of the training images.

    detections = 1.25 x the most objects in one training image, rounded up to tens; at least 20, at most 1000
    proposals  = 2.5 x detections before and 5 x detections, a level, before suppression

The least are those of the embedded scenes, whose images hold a few objects. A quarter more than the fullest training
image, since a test image may hold more; at 1000 a mask head needs gigabytes for one image.
"""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from datasets.annotations import read_annotations
from engine.config import DATA, fill

HEADROOM, LEAST, MOST = 1.25, 20, 1000


@dataclass(frozen=True)
class Limits:
    """The most of one image.

    Attributes:
        objects: of each training image that has any.
        detections: that are kept. proposals: that are looked at.
    """

    objects: tuple[int, ...]
    detections: int
    proposals: int

    def __str__(self) -> str:
        """One sentence for people, with what the cap costs where it binds."""
        ordered = sorted(self.objects)
        lost = sum(max(0, count - self.detections) for count in ordered)
        cost = f"; {lost:,} of {sum(ordered):,} objects are beyond that and cannot be found" if lost else ""
        return (
            f"{self.detections} detections and {self.proposals} proposals an image, for {ordered[len(ordered) // 2]} "
            f"objects in a usual and {ordered[-1]} in the fullest training image{cost}"
        )


def limits_of(content: dict[str, Any], classes: tuple[str, ...] | list[str]) -> Limits:
    """The limits for the content of a training file, by its objects of these classes that are no crowds."""
    wanted = {category["id"] for category in content["categories"] if category["name"] in classes}
    counted = Counter(
        annotation.get("image_id")
        for annotation in content["annotations"]
        if annotation.get("category_id") in wanted and not annotation.get("iscrowd")
    )
    objects = tuple(counted.values()) or (0,)
    detections = min(MOST, max(LEAST, 10 * math.ceil(HEADROOM * max(objects) / 10)))
    return Limits(objects, detections, math.ceil(2.5 * detections))


def fill_limits(cfg: Config, needed: bool = False) -> None:
    """Fill the marks "<data>" of a detector's test and of its proposals from the training file.

    A configuration that states the numbers itself, as published protocols do, keeps them. Where the file is not there
    yet, the marks stay for `study.configure.settle`; scenes that are yet to be rendered get the least.

    Raises:
        UserError: a file that is no annotation file, or where it is `needed`, none.
    """
    test, data = cfg.model.test_cfg, cfg.train_dataloader.dataset
    parts = [test.rcnn, test.rpn, cfg.model.train_cfg.rpn_proposal]
    path, rendered = Path(data.data_root, data.ann_file), cfg.data.get("scenes_root") is not None
    if not any(DATA in part.values() for part in parts) or not (needed or rendered or path.is_file()):
        return
    content = read_annotations(path) if needed or path.is_file() else {"categories": [], "annotations": []}
    found = limits_of(content, data.metainfo["classes"])
    fill(test.rcnn, DATA, {"max_per_img": found.detections})
    for part in parts[1:]:
        fill(part, DATA, {"max_per_img": found.proposals, "nms_pre": 2 * found.proposals})
