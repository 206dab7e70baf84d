"""Small data sets in the layouts that users have."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def photograph(path: Path, height: int = 8, width: int = 12, seed: int = 0) -> Path:
    return save(path, np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def cut(path: Path, share: float = 0.5) -> None:
    """Cut a file short, as an interrupted copy does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def manifest(folder: Path) -> dict:
    return json.loads((folder / "prepared.json").read_text())


def absolute(folder: Path) -> Path:
    """The overlay with its root as an absolute path, to be read from another working directory."""
    text = (folder / "overlay.py").read_text().replace(f"'data/{folder.name}", f"'{folder}")
    path = folder.parents[1] / f"{folder.name}-absolute.py"
    path.write_text(text)
    return path
