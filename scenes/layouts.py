"""The layouts that span scenes: COCO JSON, WebDataset tar shards and a class-per-folder image tree.

Each takes the records of the rendered scenes of a split (see export.render_chunk), in the order of their index.
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.files import write_tars, write_text
from scenes.world import SHAPES

SHARD_SIZE = 1024  # samples per tar
Record = dict[str, Any]


def label(record: Record) -> int:
    """Index into SHAPES of the solid that covers most pixels; the first of the scene graph where two cover the same."""
    return max(record["instances"], key=lambda instance: instance["area"])["category_id"] - 1


def write_coco(root: Path, split: str, records: list[Record], size: int) -> None:
    """Write coco/instances_<split>.json. Category ids are 1 .. 6 in the order of SHAPES; nothing is marked as crowd."""
    images, annotations = [], []
    for record in records:
        index = record["index"]
        images.append({"id": index, "file_name": f"{index:06d}.png", "width": size, "height": size})
        for instance in record["instances"]:
            annotations.append({"id": len(annotations) + 1, "image_id": index, **instance})
    categories = [{"id": k + 1, "name": shape, "supercategory": "solid"} for k, shape in enumerate(SHAPES)]
    value = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
    write_text(root / "coco" / f"instances_{split}.json", json.dumps(value))


def write_shards(root: Path, split: str, records: list[Record]) -> None:
    """Write shards/<split>-NNNNN.tar: KEY.png, KEY.txt (the noisy text), KEY.json (all captions and the label)."""
    samples = (sample(root / "images" / split, record) for record in records)
    write_tars(root / "shards", split, samples, SHARD_SIZE)


def sample(images: Path, record: Record) -> tuple[str, dict[str, bytes]]:
    """A record as a sample of a shard: key, members."""
    key, texts = f"{record['index']:06d}", record["captions"]
    members = {
        "png": (images / f"{key}.png").read_bytes(),
        "txt": texts["noisy"].encode(),
        "json": json.dumps({"captions": texts, "label": label(record)}).encode(),
    }
    return key, members


def write_imagefolder(root: Path, split: str, records: list[Record]) -> None:
    """Write imagefolder/<split>/<shape>/NNNNNN.png, see `link_classes`."""
    base = root / "imagefolder" / split
    shutil.rmtree(base, ignore_errors=True)  # left by an interrupted export
    files = (root / "images" / split / f"{record['index']:06d}.png" for record in records)
    link_classes(base, SHAPES, {file: SHAPES[label(record)] for file, record in zip(files, records, strict=True)})


def link_classes(base: Path, classes: Iterable[str], words: dict[Path, str]) -> None:
    """Write base/<word>/<name of the file> as hard links, or copies where the file system has none.

    Args:
        base: a folder that is not there yet.
        classes: every one gets a folder.
        words: image file -> its class.
    """
    for name in classes:
        (base / name).mkdir(parents=True)
    for source, word in words.items():
        target = base / word / source.name
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
