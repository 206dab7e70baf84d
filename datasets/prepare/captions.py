"""Captions in a table, JSON lines or CSV, with the images they name: written as the tar shards that methods read."""

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from datasets.headers import JPEG, PNG
from datasets.prepare.image_text import shards_plan
from datasets.prepare.job import Plan
from datasets.prepare.place import Place, stamp
from engine.errors import UserError
from engine.files import sha256, write_tars
from engine.json_text import parse

PATHS = ("path", "image", "file", "file_name", "filename", "filepath", "image_path")
TEXTS = ("text", "caption", "title", "captions")
PER_SHARD = 5000


def captions(place: Place, options: dict[str, Any]) -> Plan:
    """A .jsonl or .csv file of image paths and texts; lines of one image become its several captions."""
    table = place.source
    if table.is_dir():
        found = sorted(path for path in table.iterdir() if path.suffix.lower() in (".jsonl", ".csv", ".tsv"))
        if len(found) != 1:
            raise UserError(f"{table} holds {len(found)} files .jsonl, .csv or .tsv: name the one as SOURCE")
        table = found[0]
    root = Path(options["images"]) if options["images"] else table.parent
    texts = read_table(table)
    absent = [name for name in texts if not os.path.isfile(root / name)]
    if absent:
        raise UserError(
            f"{table}: {len(absent):,} of {len(texts):,} images are not in {root}, first {absent[0]}: name their "
            "folder with --images"
        )
    digest = hashlib.sha256(repr([stamp(root / name) for name in texts]).encode()).hexdigest()
    with place.folder("shards", {"table": sha256(table), "images": digest}) as made:
        if made is not None:
            bar = tqdm(texts.items(), desc="write shards", unit="image", disable=len(texts) < PER_SHARD)
            write_tars(made, "train", samples(root, bar), PER_SHARD)
    done = [f"wrote {len(texts):,} images with {sum(map(len, texts.values())):,} texts as shards"]
    return shards_plan(place, place.out / "shards", "train-*.tar", options, done)


def samples(root: Path, texts: Any) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, members) of each image: its bytes, named by what they are, its first text, and all texts in the JSON."""
    for number, (name, lines) in enumerate(texts):
        data = (root / name).read_bytes()
        kind = "jpg" if data.startswith(JPEG) else "png" if data.startswith(PNG) else Path(name).suffix.lower()[1:]
        record = json.dumps({"captions": {"all": lines}, "path": name}).encode()
        yield f"{number:08d}", {kind: data, "txt": lines[0].encode(), "json": record}


def read_table(table: Path) -> dict[str, list[str]]:
    """Image path -> its texts, in the table's order.

    Raises:
        UserError: a table that cannot be read, or a line without a path or text.
    """
    texts: dict[str, list[str]] = {}
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(rows(table, file), start=1):
                name, text = (next((row[key] for key in keys if row.get(key)), None) for keys in (PATHS, TEXTS))
                lines = text if isinstance(text, list) else [text]
                if not isinstance(name, str) or not all(isinstance(line, str) and line.strip() for line in lines):
                    raise ValueError(f"entry {number} has no {' or '.join(PATHS[:3])} with {' or '.join(TEXTS[:2])}")
                texts.setdefault(name, []).extend(line.strip() for line in lines)
    except (OSError, ValueError, csv.Error, RecursionError) as error:  # ValueError: no JSON, not UTF-8
        raise UserError(f"{table} cannot be read as a table of images and texts ({error}): correct it") from None
    if not texts:
        raise UserError(f"{table} names no image: give lines of path and text")
    return texts


def rows(table: Path, file: Any) -> Iterator[dict[str, Any]]:
    """The entries of an open table."""
    if table.suffix.lower() == ".jsonl":
        for line in filter(str.strip, file):
            row = parse(line)
            if not isinstance(row, dict):
                raise ValueError("a line is no object")
            yield row
    else:
        yield from csv.DictReader(file, delimiter="\t" if table.suffix.lower() == ".tsv" else ",")
