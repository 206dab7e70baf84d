"""Shape, colour and material of the largest solid of each scene: what image-level tasks ask about.

The file attributes/<split>.json and the folders classes/<attribute> below the root of an export are made from the
scene graphs on first use, beside the exported files and without touching them.
"""

import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from engine.caches import ensure_cached
from engine.errors import UserError
from engine.files import locked, read_object, whole_folder
from scenes.export import GENERATOR, IMAGEFOLDER_SPLITS
from scenes.geometry import FIRST_THING
from scenes.layouts import link_classes
from scenes.render import compose
from scenes.world import COLOURS, MATERIALS, SHAPES, Thing

MAKE = "there is no complete export of scenes; make it with python -m scenes"
WORDS = {"shape": SHAPES, "colour": tuple(COLOURS), "material": MATERIALS}


def ensure_attributes(root: str | Path, split: str) -> Path:
    """Make attributes/<split>.json of a complete export where it is not there yet; return its path.

    It holds {"images": [{"file": path below root, "shape", "colour", "material"}, ...]} in the order of the indices.

    Raises:
        UserError: no complete export under `root`, one of another generator, or an unknown split.
    """
    root = Path(root)
    manifest = read_object(root / "manifest.json", MAKE, generator=int, seed=int, splits=dict)
    if manifest["generator"] != GENERATOR:
        raise UserError(f"{root} holds scenes of generator {manifest['generator']}, this is {GENERATOR}: make it anew")
    if split not in manifest["splits"]:
        raise UserError(f"{root} has no split {split!r}: choose one of {', '.join(manifest['splits'])}")

    def make(temporary: Path) -> None:
        images = []
        for index in tqdm(range(*manifest["splits"][split]), desc=f"attributes of {split}", unit="scene", leave=False):
            thing = largest(manifest["seed"], index)
            words = {"shape": thing.shape, "colour": thing.colour, "material": thing.material}
            images.append({"file": f"images/{split}/{index:06d}.png", **words})
        temporary.write_text(json.dumps({"images": images}, indent=1) + "\n")

    return ensure_cached(root / "attributes" / f"{split}.json", make)


def ensure_classes(root: str | Path, attribute: str) -> Path:
    """Make classes/<attribute>/<split>/<word>/NNNNNN.png of pretrain, val and test; return classes/<attribute>.

    As imagefolder/ has it for the shape: a folder for every word of the attribute, hard links to the images in them.

    Raises:
        UserError: an unknown attribute, or what `ensure_attributes` refuses.
    """
    if attribute not in WORDS:
        raise UserError(f"scenes have no attribute {attribute!r}: choose one of {', '.join(WORDS)}")
    base = Path(root, "classes", attribute)
    if base.is_dir():
        return base
    labels = {split: ensure_attributes(root, split) for split in IMAGEFOLDER_SPLITS}
    with locked(base.with_name(".lock")):
        if not base.is_dir():
            with whole_folder(base) as new:
                for split, path in labels.items():
                    images = json.loads(path.read_text())["images"]
                    words = {Path(root, image["file"]): image[attribute] for image in images}
                    link_classes(new / split, WORDS[attribute], words)
    return base


def largest(seed: int, index: int) -> Thing:
    """The solid that covers most pixels at REFERENCE_SIZE; the first of the scene graph where two cover the same."""
    scene, (_, _, surface) = compose(seed, index)
    pixels = np.bincount(surface, minlength=FIRST_THING + len(scene.things))[FIRST_THING:]
    return scene.things[int(pixels.argmax())]
