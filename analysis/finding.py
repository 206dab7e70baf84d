"""What an analysis has found, before it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backbones.checkpoint import ENCODER


@dataclass(frozen=True)
class Scalar:
    """One number of an analysis: its unit ("%", "px", "bits", "ms", "" for a plain number) and what it says."""

    value: float
    unit: str
    about: str


@dataclass(frozen=True)
class Finding:
    """The result of one analysis.

    Attributes:
        title: heading of the figure.
        checkpoints: what was analysed, see `identity`; empty where an analysis reads records alone.
        settings: every choice that can change the numbers.
        scalars: name -> number.
        values: the numbers behind the figure, as JSON.
        figure: an SVG file's text.
        words: the same in a sentence or two, for those who do not see the figure.
    """

    title: str
    checkpoints: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    scalars: Mapping[str, Scalar]
    values: Mapping[str, Any]
    figure: str
    words: str


def identity(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Which encoder a `checkpoint.json` describes; `sha256` is that of its weights, as in result records."""
    kept = {key: meta[key] for key in ("method", "captions", "seed", "scale", "encoder")}
    return {"sha256": meta["sha256"][ENCODER], **kept}


def name_of(meta: Mapping[str, Any]) -> str:
    """A checkpoint in few words, for titles."""
    return f"{meta['method']} ({meta['scale']}, seed {meta['seed']})"
