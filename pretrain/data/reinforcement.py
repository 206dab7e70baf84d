"""A reinforced data set: what teachers make of a few stored crops of each image and of its captions, read by position.

A folder of memory-mapped arrays that `reinforce.py` writes: windows [n, A, 5] (top, left, height, width, flip in
pixels of the stored image), image [n, A, E], and for each text of the data set NAME [m, E] with NAME_rows [n + 1],
where sample i's candidates are the rows from NAME_rows[i] up to NAME_rows[i + 1]. E is the sum of the teachers' widths;
embeddings are normalised per teacher, float16. manifest.json tells what they belong to.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets.shards import fingerprint
from engine.errors import UserError
from engine.files import read_object
from pretrain.data.augment import View, Window

SCHEMA = "densebench/reinforcement"
VERSION = 1
MANIFEST = "manifest.json"
AGAIN = "make it again with tools/reinforce.py"


def reinforced_texts(texts: dict[str, tuple[str, bool]]) -> dict[str, str]:
    """A data set's texts, name -> (captions, edited) -> name -> captions; UserError where teachers cannot know them."""
    if not texts or any(edited for _, edited in texts.values()):
        raise UserError("a reinforcement stores what teachers make of captions: give the data texts, without eda")
    return {name: captions for name, (captions, _) in texts.items()}


def augmentation(views: dict[str, View]) -> dict[str, Any]:
    """What the crops of "image" are drawn with; UserError for a view that is more than one plain crop."""
    view = views.get("image")
    if view is None or view.count is not None or view.colour is not None:
        raise UserError(
            "a reinforcement stores crops and mirrors: give the data a view 'image', without colour or count"
        )
    return {"scale": list(view.crop.scale), "log_ratio": list(view.crop.log_ratio), "flip": view.crop.flip}


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """manifest.json of a reinforcement; UserError if there is none of this version."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise UserError(f"{folder} holds no reinforcement ({MANIFEST} is missing): make one with tools/reinforce.py")
    manifest = read_object(path, AGAIN)
    if (manifest.get("schema"), manifest.get("version")) != (SCHEMA, VERSION):
        raise UserError(f"{path} is not a {SCHEMA} file of version {VERSION}: {AGAIN}")
    return manifest


def teacher_widths(folder: str | Path) -> list[int]:
    """The widths of the teachers' embeddings, in the order in which they stand in a row."""
    return [teacher["width"] for teacher in read_manifest(folder)["teachers"]]


class Reinforcement:
    """Draws a stored crop of a sample with the teachers' embeddings.

    Args:
        folder: written by `pretrain.data.reinforce`.
        shards: the data set's tar files.
        texts: the data set's, name -> (captions, edited).
        views: the data set's.

    Raises:
        UserError: no reinforcement, a damaged one, or one of other shards, captions, crops or retrained teachers.
    """

    def __init__(
        self, folder: str | Path, shards: list[Path], texts: dict[str, tuple[str, bool]], views: dict[str, View]
    ) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        stored, drawn, captions = self.manifest["augmentation"], augmentation(views), reinforced_texts(texts)
        for what, found, wanted in (
            ("shards", self.manifest["fingerprint"], fingerprint(shards)),
            ("captions", self.manifest["captions"], captions),
            ("crops", {key: stored[key] for key in drawn}, drawn),
        ):
            if found != wanted:
                raise UserError(
                    f"the reinforcement in {folder} was made for other {what} ({found}) than those of "
                    f"{shards[0].parent} ({wanted}): {AGAIN}"
                )
        for teacher in self.manifest["teachers"]:
            self.check_teacher(teacher)
        self.arrays: dict[str, np.ndarray] = {}
        for name in self.manifest["arrays"]:
            self.array(name)

    def check_teacher(self, teacher: dict[str, Any]) -> None:
        """Refuse embeddings of a teacher that has been trained anew since. A teacher that is gone is no fault."""
        path = Path(teacher["folder"]) / "checkpoint.json"
        if path.is_file() and read_object(path, "make that teacher again").get("sha256") != teacher["sha256"]:
            raise UserError(f"the teacher {teacher['folder']} is not the one stored in {self.folder}: {AGAIN}")

    def array(self, name: str) -> np.ndarray:
        """One of the arrays, opened in each process for itself."""
        if name not in self.arrays:
            path = self.folder / f"{name}.npy"
            try:
                found = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise UserError(f"{path} is missing or cut short ({error}): {AGAIN}") from None
            if [str(found.dtype), list(found.shape)] != self.manifest["arrays"][name]:
                raise UserError(f"{path} is not the array that {MANIFEST} names: {AGAIN}")
            self.arrays[name] = found
        return self.arrays[name]

    def draw(self, index: int, chosen: dict[str, int]) -> tuple[Window, dict[str, torch.Tensor]]:
        """One of sample `index`'s crops, with teacher_image and the teacher_text... of the texts that were chosen.

        Args:
            index: of the sample.
            chosen: text's name ("tokens...") -> which of its candidates.
        """
        number = np.random.randint(self.manifest["augmentation"]["count"])
        *window, flip = self.array("windows")[index, number].tolist()
        item = {"teacher_image": self.array("image")[index, number]}
        for name, candidate in chosen.items():
            row = self.array(f"{name}_rows")[index] + candidate
            item[name.replace("tokens", "teacher_text", 1)] = self.array(name)[row]
        return Window(*window, bool(flip)), {key: torch.from_numpy(np.array(row)) for key, row in item.items()}

    def __getstate__(self) -> dict:
        """Memory maps do not travel to another process: it would get their contents."""
        return {**self.__dict__, "arrays": {}}
