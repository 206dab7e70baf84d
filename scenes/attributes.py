"""Shape, colour and material of the largest solid of each scene: what image-level tasks ask about.

The file attributes/<split>.json below the root of an export is made from the scene graphs on first use, beside the
exported files and without touching them.
"""

import json
from pathlib import Path

import numpy as np

from engine.errors import UserError
from engine.files import write_json
from scenes.export import GENERATOR
from scenes.geometry import FIRST_THING
from scenes.render import compose
from scenes.world import Thing


def ensure_attributes(root: str | Path, split: str) -> Path:
    """Make attributes/<split>.json of a complete export where it is not there yet; return its path.

    It holds {"images": [{"file": path below root, "shape", "colour", "material"}, ...]} in the order of the indices.

    Raises:
        UserError: no complete export under `root`, one of another generator, or an unknown split.
    """
    root = Path(root)
    path = root / "attributes" / f"{split}.json"
    if path.is_file():
        return path
    try:
        manifest = json.loads((root / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{root} is no complete export of scenes ({error}): make it with python -m scenes") from None
    if manifest["generator"] != GENERATOR:
        raise UserError(f"{root} holds scenes of generator {manifest['generator']}, this is {GENERATOR}: make it anew")
    if split not in manifest["splits"]:
        raise UserError(f"{root} has no split {split!r}: choose one of {', '.join(manifest['splits'])}")
    images = []
    for index in range(*manifest["splits"][split]):
        thing = largest(manifest["seed"], index)
        words = {"shape": thing.shape, "colour": thing.colour, "material": thing.material}
        images.append({"file": f"images/{split}/{index:06d}.png", **words})
    write_json(path, {"images": images})
    return path


def largest(seed: int, index: int) -> Thing:
    """The solid that covers most pixels at REFERENCE_SIZE; the first of the scene graph where two cover the same."""
    scene, (_, _, surface) = compose(seed, index)
    pixels = np.bincount(surface, minlength=FIRST_THING + len(scene.things))[FIRST_THING:]
    return scene.things[int(pixels.argmax())]
