"""Analyses in the report: one table per analysis and settings, a row per checkpoint, and every figure."""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from reports.analyses import Analysis
from reports.costs import machine
from reports.tables import Cell, Table, number

NAMES = {
    "attention_distance": "Mean attention distance", "attention_maps": "Attention of the last block",
    "similarity_maps": "Similarity of patches to a text", "grad_cam": "Grad-CAM of the similarity to a text",
    "tsne": "Features by class", "cae_reconstruction": "CAE decoding its encoder's own output",
    "latency": "Latency of the encoder", "data_scaling": "Score over pretraining data",
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A figure: its title, the picture as a data URI, and the same in words."""

    title: str
    uri: str
    words: str


@dataclass(frozen=True)
class Exhibit:
    """Analyses of one kind that may stand side by side: one scale, the same settings."""

    name: str
    table: Table
    figures: list[Shown]


def exhibits(found: Iterable[Analysis]) -> list[Exhibit]:
    """All analyses in the order of `NAMES`; measured times of two machines stand apart."""
    groups: dict[tuple, list[Analysis]] = defaultdict(list)
    for analysis in found:
        data = analysis.data
        scales = sorted({checkpoint["scale"] for checkpoint in data["checkpoints"]})
        settings = json.dumps(data["settings"], sort_keys=True)
        where = machine(data["hardware"]) if data["name"] == "latency" else ""
        groups[list(NAMES).index(data["name"]), tuple(scales), tuple(data["scalars"]), settings, where].append(analysis)
    return [_exhibit(key, groups[key]) for key in sorted(groups)]


def latencies(found: Iterable[Analysis]) -> dict[str, dict[str, float]]:
    """Machine and settings in words -> checkpoint's sha256 -> its median latency in ms.

    Of several measurements of one encoder in one way the first counts.
    """
    known: dict[str, dict[str, float]] = defaultdict(dict)
    for analysis in found:
        if analysis.data["name"] == "latency":
            how = f"{machine(analysis.data['hardware'])}; {_settings(analysis)}"
            for checkpoint in analysis.data["checkpoints"]:
                known[how].setdefault(checkpoint["sha256"], analysis.data["scalars"]["median"]["value"])
    return dict(sorted(known.items()))


def _exhibit(key: tuple, group: list[Analysis]) -> Exhibit:
    place, scales, scalars, _, where = key
    name = list(NAMES.values())[place]
    first = group[0].data
    header = [_label(scalar, first["scalars"][scalar]["unit"]) for scalar in scalars]
    rows = [[Cell(_subject(a)), *(Cell(number(a.data["scalars"][s]["value"], a.data["scalars"][s]["unit"]))
                                  for s in scalars), Cell(a.path)] for a in group]  # fmt: skip
    notes = [f"{_label(s, '')}: {first['scalars'][s]['about']}." for s in scalars]
    notes.append(f"Settings: {_settings(group[0])}.")
    if where:
        notes.append(f"Measured on: {where}.")
    caption = f"{name}, scale {' and '.join(scales)}" if scales else name
    table = Table(caption, ["Checkpoint", *header, "File"], rows, [""] * len(rows), notes)
    return Exhibit(name, table, [_shown(analysis) for analysis in group])


def _shown(analysis: Analysis) -> Shown:
    picture = (analysis.folder / analysis.data["figure"]).read_bytes()
    uri = f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"
    return Shown(analysis.data["title"], uri, analysis.data["words"])


def _subject(analysis: Analysis) -> str:
    """What an analysis is about: its checkpoints by method, captions and seed; of records alone its title."""
    named = []
    for checkpoint in analysis.data["checkpoints"]:
        captions = f", {checkpoint['captions']} captions" if checkpoint["captions"] else ""
        named.append(f"{checkpoint['method']}{captions}, seed {checkpoint['seed']}")
    return "; ".join(dict.fromkeys(named)) or analysis.data["title"]


def _label(scalar: str, unit: str) -> str:
    return f"{scalar.replace('_', ' ')} ({unit})" if unit else scalar.replace("_", " ")


def _settings(analysis: Analysis) -> str:
    return ", ".join(f"{key} {_plain(value)}" for key, value in analysis.data["settings"].items())


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
