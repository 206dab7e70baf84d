"""What tells several runs of one encoder apart, so that each is a row: learning rates, checkpoints, an ablation.

Runs of one encoder on one task differ by more than the seed where their settings do. Settings that a search chose are
none of it: there the search is the method's, equal for all. Of several checkpoints of one name each seed may have its
own, which is what seeds of pretraining are; two of one seed are two rows.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from reports.encoders import switches
from reports.records import CHOICES, Record, claim

WORDS: dict[str, Callable[[Any], str]] = {
    "lr": lambda value: f"lr {value:g}",
    "layer_decay": lambda value: f"layer decay {value:g}",
    "iterations": lambda value: f"{value:,} iterations",
    "global_batch": lambda value: f"batch {value:,}",
    "precision": str,
    "train_images": lambda value: f"{value:,} training images",
}
SEARCHED = ("lr", "layer_decay")


def told_apart(records: Sequence[Record]) -> dict[str, str]:
    """Path of each record -> what tells its row from others of the same encoder, in words; empty where nothing has to.

    Args:
        records: of one row and one task.
    """
    claims = {record.path: claim(record) for record in records}
    differing = [key for key in CHOICES if key != "options" and _differ(key, records, claims)]
    options = [set(one["options"]) for one in claims.values()]
    shared = set.intersection(*options) if options else set()
    labels, architectures = {}, _architectures(claims)
    for path, one in claims.items():
        parts = [WORDS[key](one[key]) if one[key] is not None else f"{key} not recorded" for key in differing]
        labels[path] = ", ".join(
            [*architectures.get(path, []), *parts, *_told(set(one["options"]) - shared, differing)]
        )
    if any(option - shared for option in options):
        labels = {path: label or "as configured" for path, label in labels.items()}
    return _with_weights(records, labels, claims)


def _architectures(claims: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Path -> how its encoder is built, where the encoders of one name are not all built alike."""
    built = {path: json.loads(one["encoder"]) for path, one in claims.items() if one["encoder"]}
    names = {encoder["name"] for encoder in built.values()}
    arguments = {path: switches(encoder) for path, encoder in built.items()}
    every = sorted({key for kwargs in arguments.values() for key in kwargs})
    values = {key: {json.dumps(kwargs.get(key)) for kwargs in arguments.values()} for key in every}
    differing = [key for key in every if len(values[key]) > 1]
    return {
        path: [encoder["name"]] * (len(names) > 1)
        + [f"{key}={arguments[path][key]}" if key in arguments[path] else f"no {key}" for key in differing]
        for path, encoder in built.items()
    }


def _differ(key: str, records: Sequence[Record], claims: dict[str, dict[str, Any]]) -> bool:
    if key in SEARCHED and all(record["selection"] for record in records):
        return False
    return len({claims[record.path][key] for record in records} - {None}) > 1


def _told(options: set[str], differing: Sequence[str]) -> list[str]:
    """Options that are not what a differing setting says already."""
    said = {"lr": ".lr=", "layer_decay": ".layer_decay=", "iterations": ".max_iters=", "global_batch": "batch_size="}
    return sorted(one for one in options if not any(said.get(key, "\0") in one for key in differing))


def _with_weights(
    records: Sequence[Record], labels: dict[str, str], claims: dict[str, dict[str, Any]]
) -> dict[str, str]:
    """The labels, with the checksum of the weights where two checkpoints of one label were fine-tuned by one seed."""
    weights: dict[tuple[str, int], set[str]] = defaultdict(set)
    for record in records:
        if sha := claims[record.path]["sha256"]:
            weights[labels[record.path], record["seed"]].add(sha)
    several = {label for (label, _), found in weights.items() if len(found) > 1}
    return {
        path: ", ".join(filter(None, (label, f"weights {(claims[path]['sha256'] or 'unknown')[:8]}")))
        if label in several
        else label
        for path, label in labels.items()
    }
