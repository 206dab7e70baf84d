"""Reinforce a data set (Faghri et al., ICCV 2023): run teachers once and store what they make of each sample.

Teachers are checkpoints of this suite with a text tower. `reinforcement.py` reads the resulting folder.
"""

import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from backbones.text import end_positions, tokenize
from backbones.towers import Teacher
from datasets.images import CorruptSample, decode_image
from datasets.shards import fingerprint, read_captions, texts_of
from engine.errors import UserError
from engine.files import move_folder, write_json
from engine.seeding import seed_host
from engine.transfer import moved
from pretrain.data.dataset import ImageTextShards
from pretrain.data.reinforcement import MANIFEST, SCHEMA, VERSION, augmentation, read_manifest, reinforced_texts

FLUSH = 60.0  # seconds of work that an interruption may cost
DONE = "done.json"


class Crops(Dataset):
    """Sample i as (windows int32 [A, 5], pixels uint8 [A, 3, size, size] per teacher, tokens per text and teacher).

    None where the sample is corrupt. Crop a of sample i is drawn under the address (seed, i, a).
    """

    def __init__(self, data: ImageTextShards, teachers: Sequence[Teacher], count: int, seed: int) -> None:
        self.data, self.count, self.seed = data, count, seed
        self.shapes = [(teacher.size, teacher.text.context) for teacher in teachers]

    def __len__(self) -> int:
        return len(self.data)

    def candidates(self, index: int) -> dict[str, list[str]]:
        """All texts that sample `index` may show, by the name of the data set's text."""
        reader = self.data.reader
        try:
            found = read_captions(reader.read(index, 1), reader.read(index, 2))
        except CorruptSample:
            return {name: [] for name in self.data.texts}
        return {name: sum(texts_of(found, captions), []) for name, (captions, _) in self.data.texts.items()}

    def __getitem__(self, index: int) -> tuple[np.ndarray, list[Tensor], dict[str, list[Tensor]]] | None:
        try:
            image = decode_image(self.data.reader.read(index, 0))
        except CorruptSample:
            return None
        view = copy.copy(self.data.views["image"])
        windows, pixels = [], []
        for number in range(self.count):
            seed_host(self.seed, index, number)
            windows.append(view.crop.draw(*image.shape[:2]))
        for size, _ in self.shapes:
            view.crop = copy.copy(view.crop)
            view.crop.size = size
            pixels.append(torch.stack([view.at(image, window) for window in windows]))
        tokens = {
            name: [
                torch.from_numpy(np.stack([tokenize(text, context) for text in texts])) for _, context in self.shapes
            ]
            for name, texts in self.candidates(index).items()
            if texts
        }
        return np.array(windows, np.int32), pixels, tokens


def reinforce(
    data: ImageTextShards,
    teachers: Sequence[Teacher],
    folder: str | Path,
    count: int = 2,
    seed: int = 0,
    batch_size: int = 64,
    workers: int = 0,
    device: str = "cpu",
) -> dict[str, Any]:
    """Store `count` crops of each sample of `data` and what the teachers make of them and of the captions.

    The work goes to a folder beside `folder`, from which an interrupted call with the same settings goes on; it is
    renamed when complete. A folder that is complete already is left as it is.

    Returns:
        The manifest.

    Raises:
        UserError: data whose views or texts cannot be reinforced, or a folder that holds something else.
    """
    folder = Path(folder).absolute()
    settings = {
        "schema": SCHEMA,
        "version": VERSION,
        "fingerprint": fingerprint(data.reader.index.shards),
        "teachers": [teacher.identity() for teacher in teachers],
        "augmentation": {**augmentation(data.views), "count": count, "seed": seed},
        "captions": reinforced_texts(data.texts),
    }
    if folder.exists():
        manifest = read_manifest(folder)
        if {key: manifest[key] for key in settings} != settings:
            raise UserError(f"{folder} holds another reinforcement: move it away, or name another folder with --out")
        return manifest
    crops = Crops(data, teachers, count, seed)
    aside = folder.with_name(f".{folder.name}.partial")
    done = read_done(aside, settings)
    arrays = open_arrays(aside, crops, sum(teacher.width for teacher in teachers), fresh=done is None)
    done = done or 0
    for teacher in teachers:
        teacher.to(device)
    loader = DataLoader(
        Subset(crops, range(done, len(crops))), batch_size=batch_size, num_workers=workers, collate_fn=list
    )
    since = time.monotonic()
    with tqdm(desc="reinforce", total=len(crops), initial=done, unit="sample") as bar:
        for batch in loader:
            store(batch, done, arrays, teachers, device)
            done += len(batch)
            bar.update(len(batch))
            if time.monotonic() - since > FLUSH or done == len(crops):
                for array in arrays.values():
                    array.flush()
                write_json(aside / DONE, {"settings": settings, "samples": done})
                since = time.monotonic()
    manifest = {**settings, "arrays": {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}}
    write_json(aside / MANIFEST, manifest)
    (aside / DONE).unlink()
    move_folder(aside, folder)
    return manifest


def read_done(aside: Path, settings: dict[str, Any]) -> int | None:
    """How many samples an interrupted call with the same settings has stored; None if there is none to go on from."""
    if not (aside / DONE).is_file():
        return None
    found = json.loads((aside / DONE).read_text())
    return found["samples"] if found["settings"] == settings else None


def open_arrays(aside: Path, crops: Crops, width: int, fresh: bool) -> dict[str, np.memmap]:
    """The arrays on disk, by name; their sizes follow from the number of samples, crops and candidates."""
    samples = len(crops)
    if not fresh:
        return {path.stem: np.lib.format.open_memmap(path, mode="r+") for path in sorted(aside.glob("*.npy"))}
    aside.mkdir(parents=True, exist_ok=True)
    for path in aside.iterdir():
        path.unlink()
    counts = {name: np.zeros(samples + 1, np.int64) for name in crops.data.texts}
    for index in tqdm(range(samples), desc="captions", unit="sample"):
        for name, texts in crops.candidates(index).items():
            counts[name][index + 1] = len(texts)
    shapes = {"windows": (np.int32, (samples, crops.count, 5)), "image": (np.float16, (samples, crops.count, width))}
    for name, number in counts.items():
        shapes[f"{name}_rows"] = (np.int64, (samples + 1,))
        shapes[name] = (np.float16, (int(number.sum()), width))
    arrays = {
        name: np.lib.format.open_memmap(aside / f"{name}.npy", mode="w+", dtype=kind, shape=shape)
        for name, (kind, shape) in shapes.items()
    }
    for name, number in counts.items():
        arrays[f"{name}_rows"][:] = number.cumsum()
    return arrays


@torch.inference_mode()
def store(
    batch: list[tuple | None], start: int, arrays: dict[str, np.memmap], teachers: Sequence[Teacher], device: str
) -> None:
    """Embed the samples start, start + 1, ... and write them into the arrays; corrupt ones keep zeros."""
    good = [(start + offset, *sample) for offset, sample in enumerate(batch) if sample is not None]
    if not good:
        return
    places = [index for index, *_ in good]
    arrays["windows"][places] = np.stack([windows for _, windows, _, _ in good])
    stop = 0
    for number, teacher in enumerate(teachers):
        columns, stop = slice(stop, stop + teacher.width), stop + teacher.width
        pixels = moved(torch.cat([pixels[number] for _, _, pixels, _ in good]), device)  # [B * A, 3, size, size]
        embedded = teacher.embed_images(pixels).cpu().numpy()
        arrays["image"][places, :, columns] = embedded.reshape(len(good), -1, teacher.width)
        for name in (name for name in arrays if f"{name}_rows" in arrays):
            having = [(index, tokens[name][number]) for index, _, _, tokens in good if name in tokens]
            if having:
                rows = np.concatenate(
                    [arrays[f"{name}_rows"][index] + np.arange(len(texts)) for index, texts in having]
                )
                tokens = torch.cat([texts for _, texts in having])
                tokens = tokens[:, : int(end_positions(tokens).max()) + 1]
                arrays[name][rows, columns] = teacher.embed_texts(moved(tokens, device)).cpu().numpy()
