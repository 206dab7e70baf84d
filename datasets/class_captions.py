"""Image-text shards from a folder per class, for sets that have labels and no captions."""

import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from datasets.shards import IMAGES
from engine.errors import UserError

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
        try:
            found = [path for path in sorted((root / name).iterdir()) if path.suffix.lower()[1:] in IMAGES]
        except OSError as error:
            raise UserError(f"the class folder {root / name} cannot be read ({error.strerror})") from None
        if not found:
            raise UserError(f"the class folder {root / name} holds no image of type {', '.join(IMAGES)}")
        files += [(path, label) for path in found]
    texts = [json.dumps({"captions": {NAME: list(captions[name])}, "label": k}).encode()
             for k, name in enumerate(captions)]  # fmt: skip
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with tqdm(total=len(files), desc=str(out), unit="img") as bar:
        for shard, start in enumerate(range(0, len(files), per_shard)):
            with tarfile.open(partial / f"train-{shard:05d}.tar", "w") as archive:
                for number, (path, label) in enumerate(files[start : start + per_shard], start=start):
                    for suffix, content in ((path.suffix.lower(), path.read_bytes()), (".json", texts[label])):
                        member = tarfile.TarInfo(f"{number:08d}{suffix}")
                        member.size = len(content)
                        archive.addfile(member, io.BytesIO(content))
                    bar.update()
    partial.rename(out)
    return len(files)
