"""Image-text shards from a folder per class, for sets that have labels and no captions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from datasets.class_folders import images_in
from datasets.images import IMAGE_SUFFIXES
from engine.errors import UserError
from engine.files import whole_folder, write_tars

NAME = "class"  # of the captions in each sample's JSON


def write_class_shards(
    root: str | Path, captions: Mapping[str, Sequence[str]], out: str | Path, per_shard: int = 5000
) -> int:
    """Write every image below `root` with the captions of its class to out/train-NNNNN.tar; return how many.

    A sample is KEY.jpg (or as its file is called) and KEY.json, {"captions": {"class": [...]}, "label": class number};
    classes in the order of `captions`, files in that of their names. The same folder gives the same bytes. The shards
    are built aside, so `out` holds all of them or is not there.

    Args:
        root: folder of class folders.
        captions: class folder -> its captions.
        out: folder to make.
        per_shard: images in one tar.

    Raises:
        UserError: `out` is there already, or a class folder that cannot be read or holds no image.
    """
    root, out = Path(root), Path(out)
    if out.exists():
        raise UserError(f"{out} is already there: choose another folder, or delete it to write it again")
    files = []
    for label, name in enumerate(captions):
        found = images_in(root / name)
        if not found:
            raise UserError(f"the class folder {root / name} holds no image of type {', '.join(IMAGE_SUFFIXES)}")
        files += [(path, label) for path in found]
    texts = [json.dumps({"captions": {NAME: list(captions[name])}, "label": k}).encode()
             for k, name in enumerate(captions)]  # fmt: skip
    samples = (
        (f"{number:08d}", {path.suffix.lower()[1:]: path.read_bytes(), "json": texts[label]})
        for number, (path, label) in enumerate(tqdm(files, desc=str(out), unit="img"))
    )
    with whole_folder(out) as new:
        write_tars(new, "train", samples, per_shard)
    return len(files)
