"""Karpathy's test splits for `tools/prepare.py`: images with their first five captions, as the shards retrieval reads.

The splits are those of Karpathy and Fei-Fei 2015 (arXiv 1412.2306): `dataset_flickr30k.json` and `dataset_coco.json`,
{"images": [{"filename", "filepath" (COCO), "cocoid" (COCO), "split", "sentences": [{"raw"}, ...]}, ...]}.
"""

import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from datasets.captioned import CaptionedImages
from datasets.class_folders import images_in
from datasets.images import CorruptSample, decode_image
from datasets.parallel import each
from datasets.prepare.findings import Findings
from datasets.prepare.job import Plan
from datasets.prepare.place import Place, stamp
from engine.errors import UserError
from engine.files import sha256, write_tars
from engine.json_text import parse

CAPTIONS = 5  # of an image, the first ones: what the published recalls count
NAME = "human"  # of the captions in the shards
PER_SHARD = 1000
SPLITS_ORIGIN = "Karpathy's image captioning page (Deep Visual-Semantic Alignments) has it in caption_datasets.zip"
FLICKR = {"train": 29_000, "val": 1_014, "test": 1_000}
FLICKR_IMAGES = 31_783
FLICKR_FOLDERS = ("flickr30k-images", "flickr30k_images", "Images", "images", ".")
FLICKR_ORIGIN = "the images come from the Flickr30K page of the University of Illinois, by request"
COCO_TEST = 5_000
COCO_ORIGIN = "the images are COCO's 2014 Val images, or those of 2017 (Train and Val), from COCO's download page"


def flickr30k(place: Place, options: dict[str, Any]) -> Plan:
    """Flickr30K's 1000 test images."""
    path, entries = read_splits(place.source, "dataset_flickr30k.json", options)
    folders = [place.source / name for name in FLICKR_FOLDERS]
    folder = next((f for f in folders if f.is_dir() and any(f.glob("*.jpg"))), None)
    if folder is None:
        raise UserError(f"{place.source}: no folder {' or '.join(FLICKR_FOLDERS[:-1])} with images; {FLICKR_ORIGIN}")
    test = [(folder / entry["filename"], entry) for entry in entries if entry["split"] == "test"]
    done = write_shards(place, path, test, FLICKR_ORIGIN)

    def check(findings: Findings) -> dict[str, Any]:
        there = len(images_in(folder))
        findings.count("folder", "images", there, FLICKR_IMAGES)
        found = Counter(entry["split"] for entry in entries)
        for split, number in FLICKR.items():
            findings.count(split, "images listed", found[split], number)
        return check_captioned(place, findings)

    return retrieval_plan(place, check, done)


def coco_captions(place: Place, options: dict[str, Any]) -> Plan:
    """COCO's 5000 test images, from the folders of 2014 or of 2017, which hold the same files under other names."""
    path, entries = read_splits(place.source, "dataset_coco.json", options)
    test = [(coco_file(place.source, entry), entry) for entry in entries if entry["split"] == "test"]
    done = write_shards(place, path, test, COCO_ORIGIN)

    def check(findings: Findings) -> dict[str, Any]:
        findings.count("test", "images listed", len(test), COCO_TEST)
        return check_captioned(place, findings)

    return retrieval_plan(place, check, done)


def read_splits(source: Path, name: str, options: dict[str, Any]) -> tuple[Path, list[dict[str, Any]]]:
    """The file of the splits and its entries.

    Raises:
        UserError: no such file, or one of another form.
    """
    paths = (
        [Path(options["splits_file"])] if options.get("splits_file") else [source / name, source / "karpathy" / name]
    )
    path = next((p for p in paths if p.is_file()), None)
    if path is None:
        raise UserError(f"there is no {paths[0]}: {SPLITS_ORIGIN}; put it into SOURCE or name it with --splits-file")
    try:
        entries = parse(path.read_text())["images"]
        for entry in entries:
            texts = [entry["split"], entry["filename"], *(sentence["raw"] for sentence in entry["sentences"])]
            texts.append(entry.get("filepath", ""))
            if not all(isinstance(text, str) for text in texts) or not isinstance(entry.get("cocoid", 0), int):
                raise TypeError(f"entry {entries.index(entry)} has another thing than a text, or a cocoid of no number")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is not a file of Karpathy's splits ({error!r}): {SPLITS_ORIGIN}") from None
    return path, entries


def coco_file(source: Path, entry: dict[str, Any]) -> Path:
    """Where an image of `dataset_coco.json` lies; the first place looked at if it is nowhere."""
    later = f"{entry.get('cocoid', 0):012d}.jpg"
    tried = [
        source / folder / name
        for name in (
            f"{entry.get('filepath', 'val2014')}/{entry['filename']}",
            f"val2017/{later}",
            f"train2017/{later}",
        )
        for folder in (".", "images")
    ]
    return next((path for path in tried if os.path.isfile(path)), tried[0])


def write_shards(place: Place, splits: Path, test: list[tuple[Path, dict[str, Any]]], origin: str) -> str:
    """Write the test images in the split's order with their first captions; returns what was done.

    Raises:
        UserError: an image is missing, or has fewer than five captions; no test image at all.
    """
    absent = [path for path, _ in test if not os.path.isfile(path)]
    if absent or not test:
        lost = f"{len(absent)} of {len(test)} test images are missing, first {absent[0]}" if absent else "no test image"
        raise UserError(f"{splits}: {lost}; {origin}")
    poor = [entry["filename"] for _, entry in test if len(entry["sentences"]) < CAPTIONS]
    if poor:
        raise UserError(f"{splits}: {len(poor)} test images have fewer than {CAPTIONS} captions, first {poor[0]}: "
                        "fetch the file again")  # fmt: skip
    digest = hashlib.sha256(repr([stamp(path) for path, _ in test]).encode()).hexdigest()
    made_from = {"splits": sha256(splits), "images": digest}
    with place.folder("shards", made_from) as made:
        if made is not None:
            bar = tqdm(test, desc="write shards", unit="image", disable=len(test) < PER_SHARD)
            write_tars(made, "test", (captioned(path, entry) for path, entry in bar), PER_SHARD)
    return f"wrote {len(test):,} test images with {CAPTIONS} captions each as shards"


def captioned(path: Path, entry: dict[str, Any]) -> tuple[str, dict[str, bytes]]:
    """An image with its first captions as a sample of a shard: key, members."""
    captions = [sentence["raw"].strip() for sentence in entry["sentences"][:CAPTIONS]]
    record = json.dumps({"captions": {NAME: captions}}).encode()
    return path.stem, {path.suffix.lower()[1:]: path.read_bytes(), "json": record}


def check_captioned(place: Place, findings: Findings) -> dict[str, Any]:
    """Read the written shards as retrieval does, and decode every image."""
    images = CaptionedImages(place.out / "shards", "test-*.tar", NAME)
    findings.count("test", "images", len(images))
    findings.count("test", "captions", len(images.texts))
    empty = [images.reader.name(images.owner[k]) for k, text in enumerate(images.texts) if not text]
    for name in empty:
        findings.problem("empty caption", name)

    def fault(sample: int) -> str | None:
        try:
            decode_image(images.reader.read(sample, 0))
        except CorruptSample as error:
            return f"{images.reader.name(sample)}: {error}; fetch the image again"

    for found in each(fault, range(len(images)), "check images", "image"):
        if found:
            findings.problem("corrupt image", found)
    findings.take_sample([str(path) for path in images.reader.index.shards], most=2)
    return {}


def retrieval_plan(place: Place, check: Any, done: str) -> Plan:
    """What both data sets have in common: the overlay that retrieval reads."""
    data = {"name": place.name, "kind": "image_text", "root": str(place.out / "shards"), "pattern": "test-*.tar"}
    command = "python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER"
    remarks = f"Karpathy's test split, {CAPTIONS} captions an image."
    return Plan(check, data, command, overlay=True, extra={"captions": NAME}, remarks=remarks, done=[done])
