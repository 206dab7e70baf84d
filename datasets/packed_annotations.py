"""What mmdet reads of a COCO file, packed into one file of arrays that all ranks and workers map.

mmdet's own data set pickles a list of dicts in every process. Here a file is packed once, an image a line of JSON, and
every process of the machine reads the same pages of it; what it holds alone does not grow with the file.
"""

import json
import math
import os
from array import array
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from mmdet.datasets import CocoDataset
from tqdm import tqdm

from engine.errors import UserError


class PackedImages(Sequence):
    """The images of a COCO file, read like a list of dicts: img_id, file_name, height, width and mmdet's instances.

    Args:
        path: of a file that `pack_images` wrote, which is mapped anew where this object is copied or sent.

    Attributes:
        categories: the file's numbers of the classes, int64 [classes].
        shapes: heights and widths, int64 [N, 2].
        described: whether an annotation of the classes, be it a crowd, is of an image: bool [N].
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.categories, self.ends, self.shapes, self.described, self.text = mapped_arrays(self.path)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> dict[str, Any]:
        place = range(len(self))[index]
        begin = self.ends[place - 1] if place else 0
        return json.loads(self.text[begin : self.ends[place]].tobytes())

    def __reduce__(self) -> tuple:
        return PackedImages, (self.path,)


def pack_images(file: Path, content: dict[str, Any], classes: Sequence[str], source: Path) -> None:
    """Write what mmdet reads of a COCO file, for `PackedImages`.

    Args:
        file: to write. content: of `read_annotations`, mended. classes: their places are the labels.
        source: where the content comes from, for messages.

    Raises:
        UserError: no object that counts is of these classes.
    """
    things = defaultdict(list)
    for annotation in content["annotations"]:
        things[annotation["image_id"]].append(annotation)
    chosen = [category["id"] for category in content["categories"] if category["name"] in classes]
    labels = {number: label for label, number in enumerate(chosen)}
    # What `parse_data_info` asks of its data set.
    reader = SimpleNamespace(cat_ids=labels, cat2label=labels, data_prefix={"img": ""}, return_classes=False)
    text, ends, shapes, described, counted = bytearray(), array("q"), array("q"), array("b"), 0
    images = content["images"]
    for image in tqdm(images, desc="pack annotations", unit="image", disable=len(images) < 2000, leave=False):
        own = things.pop(image["id"], [])
        raw = {"raw_img_info": {**image, "img_id": image["id"]}, "raw_ann_info": own}
        instances = CocoDataset.parse_data_info(reader, raw)["instances"]
        record = {"img_id": image["id"], **{key: image[key] for key in ("file_name", "height", "width")}}
        text += json.dumps({**record, "instances": instances}, separators=(",", ":")).encode()
        ends.append(len(text))
        shapes.extend((image["height"], image["width"]))
        described.append(any(annotation["category_id"] in labels for annotation in own))
        counted += sum(not instance["ignore_flag"] for instance in instances)
    if not counted:
        raise UserError(
            f"{source} has no object of the classes {list(classes)}, so nothing can be learnt or "
            "scored: annotate its images, or choose another split or other classes"
        )
    with open(file, "wb") as handle:  # whole numbers first, so that they are aligned
        np.save(handle, np.array(chosen, np.int64))
        np.save(handle, np.array(ends, np.int64))
        np.save(handle, np.array(shapes, np.int64).reshape(-1, 2))  # [2N] -> [N, 2]
        np.save(handle, np.array(described, bool))
        np.save(handle, np.frombuffer(text, np.uint8))


def mapped_arrays(path: Path) -> list[np.ndarray]:
    """The arrays that `np.save` wrote into a file one behind the other, memory-mapped and read-only."""
    whole, found = np.memmap(path, np.uint8, "r"), []
    with open(path, "rb") as file:
        while file.tell() < len(whole):
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            found.append(np.frombuffer(whole, dtype, math.prod(shape), file.tell()).reshape(shape))
            file.seek(found[-1].nbytes, os.SEEK_CUR)
    return found
