"""Image-text shards from a folder per class, for sets that have labels and no captions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets.class_folders import images_in
from datasets.images import IMAGE_SUFFIXES
from engine.errors import UserError
from engine.files import whole_folder, write_tars

NAME, NOISY = "class", "noisy"  # of the captions in each sample's JSON


@dataclass(frozen=True)
class Noise:
    """Captions that are wrong as the web's are: beside its class's, each image has "noisy" ones.

    Attributes:
        wrong: share of images that are called by another class's name, drawn uniformly.
        missing: share of images whose captions name nothing.
        nameless: the captions of those.
        seed: of the draws, one for each image in the order of the shards.
    """

    wrong: float
    missing: float
    nameless: Sequence[str]
    seed: int = 0

    def classes(self, labels: Sequence[int], count: int) -> list[int | None]:
        """The class whose captions each image shows: its own of `count`, another, or None for `nameless`."""
        draw = np.random.default_rng(self.seed)
        fate, step = draw.random(len(labels)), draw.integers(1, count, len(labels))
        others = [(label + int(k)) % count for label, k in zip(labels, step, strict=True)]
        return [
            other if f < self.wrong else None if f < self.wrong + self.missing else label
            for label, other, f in zip(labels, others, fate, strict=True)
        ]


def write_class_shards(
    root: str | Path,
    captions: Mapping[str, Sequence[str]],
    out: str | Path,
    per_shard: int = 5000,
    noise: Noise | None = None,
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
        noise: adds captions "noisy" to each sample; needs two classes.

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
    texts = [list(captions[name]) for name in captions]
    labels = [label for _, label in files]
    shown = noise.classes(labels, len(texts)) if noise else [None] * len(files)

    def record(label: int, other: int | None) -> bytes:
        kinds = {NAME: texts[label]}
        if noise:
            kinds[NOISY] = list(noise.nameless) if other is None else texts[other]
        return json.dumps({"captions": kinds, "label": label}).encode()

    samples = (
        (f"{number:08d}", {path.suffix.lower()[1:]: path.read_bytes(), "json": record(label, other)})
        for number, ((path, label), other) in enumerate(zip(tqdm(files, desc=str(out), unit="img"), shown, strict=True))
    )
    with whole_folder(out) as new:
        write_tars(new, "train", samples, per_shard)
    return len(files)
