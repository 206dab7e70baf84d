"""Small shards and encoders that the pretraining tests share."""

import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np

ENCODER = {
    "name": "vit_tiny_patch16_224",
    "kwargs": {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3},
}
WORDS = "red green blue sphere cube cone metal rubber left of large on the floor".split()  # noqa: SIM905
TEXT = {"embed_dim": 16, "context": 16, "width": 24, "layers": 2, "heads": 3}


def make_sample(index: int, damaged: bool = False) -> dict[str, bytes]:
    """The members of one sample, from its index alone."""
    rng = np.random.default_rng(index)
    image = cv2.resize(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), (48, 40))
    png = cv2.imencode(".png", image)[1].tobytes()
    texts = {name: " ".join(rng.choice(WORDS, rng.integers(2, 9))) for name in ("aligned", "rewritten", "enriched")}
    alt = f"img_{index} {rng.choice(WORDS)}"
    return {
        "png": png[: len(png) // 2] if damaged else png,
        "txt": alt.encode(),
        "json": json.dumps({"captions": {"noisy": alt, **texts}, "label": index % 6}).encode(),
    }


def write_tar(file: Path, samples: dict[int, dict[str, bytes]]) -> None:
    """A shard of samples, number -> extension -> bytes."""
    with tarfile.open(file, "w") as archive:
        for index, members in samples.items():
            for extension, data in members.items():
                info = tarfile.TarInfo(f"{index:06d}.{extension}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


def write_shards(folder: Path, count: int, per_shard: int = 10, damaged: tuple[int, ...] = ()) -> Path:
    """Shards pretrain-00000.tar ... of `count` samples."""
    folder.mkdir(parents=True)
    for start in range(0, count, per_shard):
        samples = {index: make_sample(index, index in damaged) for index in range(start, min(count, start + per_shard))}
        write_tar(folder / f"pretrain-{start // per_shard:05d}.tar", samples)
    return folder
