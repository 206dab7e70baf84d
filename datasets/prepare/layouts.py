"""Images and what belongs to them (label folders, depth folders, COCO files): found by usual names and linked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.prepare.place import Place
from engine.errors import UserError

ROLES = {"train": ("train", "training"), "val": ("val", "validation", "valid"), "test": ("test", "testing")}
Splits = dict[str, str]  # train, val and test -> what the source calls them


def find_trees(source: Path, layouts: Sequence[tuple[str, str]], options: dict[str, Any]) -> tuple[str, str, Splits]:
    """The folders of images and labels below `source`, as patterns with {split}, and the splits.

    Without a val or test split of its own, the other serves as both; neither is refused.

    Args:
        layouts: (images, labels) to look for, in this order.
        options: "images" and "labels" name others instead; "splits" names the three splits.

    Raises:
        UserError: no such folders, or no held-out split.
    """
    if (options.get("images") is None) != (options.get("labels") is None):
        raise UserError("the folders of images and of labels belong together: name both, as in images/{split}")
    if options.get("images"):
        layouts = [(options["images"], options["labels"])]
        if "{split}" not in options["labels"]:
            raise UserError(f"{options['labels']!r} has no {{split}}: write it where the split's name stands")
    names = options.get("splits")
    roles = {role: (name,) for role, name in zip(ROLES, names, strict=True)} if names else ROLES
    for images, labels in layouts:
        found = {}
        for role, candidates in roles.items():
            both = [name for name in candidates
                    if all((source / pattern.format(split=name)).exists() for pattern in (images, labels))]  # fmt: skip
            if both:
                found[role] = both[0]
        if "train" in found:
            return images, labels, held_out(found, source)
    tried = "; ".join(f"{images} with {labels}" for images, labels in layouts)
    there = ", ".join(sorted(path.name for path in source.iterdir() if path.is_dir())[:12]) if source.is_dir() else ""
    wanted = f"{', '.join(names)}" if names else "train or training"
    raise UserError(
        f"{source}: no images with labels for {wanted} (looked for {tried}); it holds {there or 'no folder'}:"
        " name yours and the splits, as --help says"
    )


def held_out(found: Splits, where: Path) -> Splits:
    """Let val and test stand for each other where one is missing; UserError where both are."""
    one = found.get("val") or found.get("test")
    if one is None:
        raise UserError(
            f"{where}: only training data, nothing to test on: add a val or test split, or name one with --splits"
        )
    return {"train": found["train"], "val": found.get("val", one), "test": found.get("test", one)}


def link_trees(
    place: Place, layouts: Sequence[tuple[str, str]], options: dict[str, Any], images_as: str, labels_as: str
) -> tuple[Splits, list[str]]:
    """Link images and labels of all splits as `images_as` and `labels_as` say; returns the splits and what was done."""
    images, labels, splits = find_trees(place.source, layouts, options)
    for name in dict.fromkeys(splits.values()):
        place.link(images_as.format(split=name), place.source / images.format(split=name))
        place.link(labels_as.format(split=name), place.source / labels.format(split=name))
    done = [f"linked {images} and {labels} ({', '.join(dict.fromkeys(splits.values()))})"]
    if splits["val"] == splits["test"]:
        done.append(f"{splits['val']} serves as val and as test: choose settings on it and you report on it too")
    return splits, done
