"""Qualitative panels: the same held-out images under every method, as pictures that live inside the page."""

import base64
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from reports.records import Record, Unused
from reports.rows import Row
from reports.sections import TASK_NAMES, Section

IMAGES_PER_TASK = 4
LARGEST_SIDE = 384  # pixels; larger pictures are scaled down, so that a page of many methods stays a few megabytes
MOST_COLOURS = 256  # a picture with no more is a label map: kept sharp and without loss


@dataclass(frozen=True)
class Picture:
    """A data URI, or None with the reason in `alt`."""

    uri: str | None
    alt: str


@dataclass(frozen=True)
class Panel:
    """Pictures of one task: `columns` are input, truth and one per method; each row is one held-out image."""

    title: str
    columns: list[str]
    rows: list[list[Picture]]
    seed: int
    legend: dict[str, Any] | None = None  # of the records, where they say how to read their pictures

    @property
    def colours(self) -> list[tuple[str, str]]:
        """(class, CSS colour) of each class."""
        found = self.legend or {"classes": [], "palette": []}
        return [
            (name, f"rgb({r} {g} {b})") for name, (r, g, b) in zip(found["classes"], found["palette"], strict=False)
        ]


def panels(section: Section) -> tuple[list[Panel], list[Unused]]:
    """One panel per task that has samples, from the lowest seed that most rows share; also the unreadable pictures.

    Images are matched between methods by the content of the input picture, so a row never shows two different images.
    """
    result: list[Panel] = []
    unused: list[Unused] = []
    for task in (name for name in TASK_NAMES if name in section.protocols):
        records = [r for r in section.records if r["task"] == task and r["status"] == "ok" and r["samples"]]
        if records:
            seeds = [r["seed"] for r in records]
            seed = min(set(seeds), key=lambda s: (-seeds.count(s), s))
            panel = _panel(section, task, [r for r in records if r["seed"] == seed], unused)
            if panel.rows:
                result.append(panel)
    return result, unused


def _panel(section: Section, task: str, records: list[Record], unused: list[Unused]) -> Panel:
    found: dict[str, dict[Row, tuple[Path, Path, Path]]] = {}  # image digest -> row -> image, truth, prediction
    chosen = {row: r for row in section.rows for r in section.of(row, task) if r in records}
    for row, record in chosen.items():
        for sample in record["samples"]:
            paths = tuple(record.folder / sample[key] for key in ("image", "truth", "prediction"))
            try:
                digest = hashlib.sha256(paths[0].read_bytes()).hexdigest()
            except OSError as error:
                unused.append(_lost(record, sample["image"], error))
                continue
            found.setdefault(digest, {})[row] = paths
    columns = ["Input", "Truth", *(section.name(row) for row in chosen)]
    rows = []
    for k, (_, shown) in enumerate(list(found.items())[:IMAGES_PER_TASK], start=1):
        line: list[Picture] = []
        owner = next(row for row in chosen if row in shown)
        cells = [("input", owner, 0), ("truth", owner, 1), *((section.name(row), row, 2) for row in chosen)]
        for label, row, part in cells:
            if row not in shown:
                line.append(Picture(None, "no picture of this image"))
                continue
            path = shown[row][part]
            try:
                line.append(Picture(_data_uri(path), f"{TASK_NAMES[task]}, image {k}: {label}"))
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                record = chosen[row]
                unused.append(_lost(record, path.relative_to(record.folder).as_posix(), error))
                line.append(Picture(None, "picture not readable"))
        rows.append(line)
    legend = next((r["legend"] for r in records if "legend" in r.data), None)
    return Panel(TASK_NAMES[task], columns, rows, records[0]["seed"], legend)


def _lost(record: Record, name: str, error: Exception) -> Unused:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return Unused((Path(record.path).parent / name).as_posix(), f"picture not readable ({reason})")


def _data_uri(path: Path) -> str:
    """Return the picture as a data URI; small PNG files as they are, others scaled and encoded anew."""
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        if opened.format == "PNG" and max(opened.size) <= LARGEST_SIDE:
            return f"data:image/png;base64,{base64.b64encode(data).decode()}"
        image = opened.convert("RGB")
    flat = image.getcolors(MOST_COLOURS) is not None
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.NEAREST if flat else Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if flat:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=85)
    return f"data:image/{'png' if flat else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"
