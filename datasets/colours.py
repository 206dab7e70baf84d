"""Are the colours of a data set those that an encoder's images are normalised by?"""

from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from datasets.prepare.place import MANIFEST, read_json

SHIFT, SPREAD = 1.0, 2.0  # standard deviations of the mean, factor of the deviation: beyond, they are another world


def far_from(root: str | Path, image: Mapping[str, Any]) -> str | None:
    """A sentence where a prepared data set's colours are far from an encoder's; None where not, or not known.

    Args:
        root: of the data section; `prepared.json` lies there or in the folder above.
        image: {"mean", "std"} of R, G, B in 0 .. 1 by which the encoder's images are normalised.
    """
    found = next((known for folder in (Path(root), Path(root).parent) if (known := stated(folder))), None)
    if found is None:
        return None
    pairs = list(zip(found["mean"], found["std"], image["mean"], image["std"], strict=True))
    shifts, spreads = [(m - mean) / std for m, _, mean, std in pairs], [s / std for _, s, _, std in pairs]
    if max(map(abs, shifts)) <= SHIFT and min(spreads) >= 1 / SPREAD and max(spreads) <= SPREAD:
        return None
    shift, spread = (", ".join(f"{value:.2f}" for value in values) for values in (shifts, spreads))
    return (f"normalised for this encoder, the training images have the mean {shift} and the deviation {spread} in R, "
            "G, B, where its own had 0 and 1: results may say more of colours than of the encoder")  # fmt: skip


def stated(folder: Path) -> dict[str, Sequence[float]] | None:
    """The colours in a folder's prepared.json; None where there are none."""
    manifest = read_json(folder / MANIFEST)
    image = manifest.get("image") if isinstance(manifest, dict) else None
    if not isinstance(image, dict):
        return None
    whole = all(isinstance(image.get(key), list) and len(image[key]) == 3 and
                all(isinstance(value, Real) for value in image[key]) for key in ("mean", "std"))  # fmt: skip
    return image if whole else None
