"""Kinds of data: what a user's folders hold, read as `tools/prepare.py` and then training read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image
from pycocotools import mask as coco_mask

from benchmarks.fuzzing.formats import encode, encode_image, member_of, write_tar
from benchmarks.fuzzing.kinds import Files, Kind, command
from benchmarks.fuzzing.perfect import perfect_score
from datasets.captioned import CaptionedImages
from datasets.images import header_of, read_bgr, read_plane, read_rgb
from datasets.sections import Section, read_section
from engine.config import read
from engine.errors import UserError
from pretrain.data.dataset import ImageFolder, ImageTextShards

HEIGHT, WIDTH = 12, 16
SPLITS = ("train", "val")
WORDS = ("a red cube", "the blue sphere", "green cone, left of it")


def pixels(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A noisy picture, uint8 [H, W, 3]."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def prepared(kind: str, source: Path, folder: Path, *words: object) -> Section:
    """Prepare data and return the section of the overlay that was written. UserError where they are refused."""
    command("prepare", kind, source, "--out", folder / "out", *words)
    return read_section(read(folder / "out" / "overlay.py").data.to_dict())


def accepted(what: Any) -> str | None:
    """What is wrong where training refuses, or reads otherwise, what was prepared."""
    try:
        return what()
    except UserError as error:
        return f"prepare accepts what training refuses: {error}"


def build(**arguments: Any) -> Any:
    """A data set of the suite."""
    with DefaultScope.overwrite_default_scope("mmseg" if arguments["type"] != "CocoFolder" else "mmdet"):
        return DATASETS.build(arguments)


def coco() -> Kind:
    """COCO JSON with its images; perfect predictions on what is accepted score 100."""
    runs = coco_mask.encode(np.asfortranarray(np.pad(np.ones((4, 6), np.uint8), ((3, 5), (4, 6)))))
    objects = [
        {"id": 1, "image_id": 1, "category_id": 7, "bbox": [2, 1, 6, 5], "area": 30, "iscrowd": 0,
         "segmentation": [[2, 1, 8, 1, 8, 6, 2, 6]]},
        {"id": 2, "image_id": 1, "category_id": 3, "bbox": [4, 3, 6, 4], "area": 24, "iscrowd": 0,
         "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs["counts"].decode()}},
        {"id": 3, "image_id": 2, "category_id": 3, "bbox": [0, 0, 9, 9], "area": 40.5, "iscrowd": 0,
         "segmentation": [[0, 0, 9, 0, 0, 9], [9, 9, 9, 8, 8, 9]]},
        {"id": 4, "image_id": 2, "category_id": 7, "bbox": [1, 2, 5, 5], "area": 25, "iscrowd": 1,
         "segmentation": {"size": [HEIGHT, WIDTH], "counts": [14, 5, 7, 5, 7, 5, 7, 5, 7, 5, 125]}},
    ]  # fmt: skip
    images = [{"id": k, "file_name": f"{k}.png", "height": HEIGHT, "width": WIDTH} for k in (1, 2)]
    categories = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]
    text = json.dumps({"categories": categories, "images": images, "annotations": objects}).encode()
    files: Files = {f"{split}.json": text for split in SPLITS}
    files |= {f"{split}/{k}.png": encode(pixels(k)) for split in SPLITS for k in (1, 2)}
    return Kind([files], read_coco, fixed=tuple(name for name in files if name.endswith(".png")), share=3)


def read_coco(folder: Path) -> str | None:
    """Prepare, build both splits, read every object's mask, score perfect predictions."""
    data = prepared("coco-format", folder, folder.with_name("place"))

    def train() -> str | None:
        for split in SPLITS:
            dataset = build(
                type="CocoFolder", data_root=data.root, ann_file=data.annotations.format(split=split),
                data_prefix=dict(img=data.images.format(split=split)), metainfo=dict(classes=list(data.classes)),
                pipeline=[dict(type="LoadImageStrict"), dict(type="LoadAnnotations", with_bbox=True, with_mask=True)],
                test_mode=True,
            )  # fmt: skip
            for k in range(len(dataset)):
                dataset[k]["gt_masks"].to_ndarray()
            if (found := perfect_score(dataset)) != (1.0, 1.0):
                return f"perfect predictions score {found}"
        return None

    return accepted(train)


def images() -> Kind:
    """Encoded images of every kind that people have."""
    image = Image.fromarray(pixels(0))
    grey, deep = image.convert("L"), np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 300
    tags = Image.Exif()
    tags[0x0112] = 6
    made = {
        "rgb.png": encode_image(image, "PNG"), "grey.png": encode_image(grey, "PNG"), "deep.png": encode(deep),
        "palette.png": encode_image(image.quantize(16), "PNG"), "alpha.png": encode_image(image.convert("RGBA"), "PNG"),
        "bits.png": encode_image(grey.convert("1"), "PNG"), "rgb.jpg": encode_image(image, "JPEG"),
        "turned.jpg": encode_image(image, "JPEG", exif=tags.tobytes()), "grey.jpg": encode_image(grey, "JPEG"),
        "steps.jpg": encode_image(image, "JPEG", progressive=True), "turned.png": encode_image(image, "PNG", exif=tags),
        "ink.jpg": encode_image(image.convert("CMYK"), "JPEG"), "plain.bmp": encode_image(image, "BMP"),
        "deep.tif": encode(deep, "TIFF"), "rgb.tif": encode_image(image, "TIFF", compression="tiff_lzw"),
        "rgb.webp": encode_image(image, "WEBP"), "turned.tif": encode_image(image, "TIFF", exif=tags),
        "ink.tif": encode_image(image.convert("CMYK"), "TIFF", compression="tiff_deflate"),
    }  # fmt: skip
    return Kind([{name: content} for name, content in made.items()], read_images, share=8)


def read_images(folder: Path) -> str | None:
    """By header and by pixels, in both orders, as an image and as a map."""
    (path,) = folder.iterdir()
    faults = []
    for reader in (read_rgb, read_plane):
        try:
            found = reader(path)
        except UserError as error:
            faults.append(error)
            continue
        if found.shape[:2] != (shown := header_of(path).shown):
            return f"the header says {shown}, the pixels are {found.shape}"
        if reader is read_rgb and not np.array_equal(read_bgr(path)[..., ::-1], found):
            return "BGR and RGB differ"
    if len(faults) == 2:
        raise faults[0]
    return None


def pairs(maps: dict[str, bytes], labels: str) -> Files:
    """Images with maps of the same names."""
    files = {f"images/{split}/{k}.png": encode(pixels(k)) for split in SPLITS for k in range(2)}
    return files | {f"{labels}/{split}/{name}": content for split in SPLITS for name, content in maps.items()}


def labels() -> Kind:
    """Images with label maps."""
    ids = np.random.default_rng(5).integers(0, 3, (HEIGHT, WIDTH), dtype=np.uint8)
    palette = Image.fromarray(ids, "P")
    palette.putpalette([*range(9)])
    return Kind([pairs({"0.png": encode(ids), "1.png": encode_image(palette, "PNG")}, "labels"),
                 pairs({"0.png": encode(ids.astype(np.uint16)), "1.png": encode(ids)}, "labels")],
                read_labels, renames=True)  # fmt: skip


def read_labels(folder: Path) -> str | None:
    """Prepare, then read every pair as training reads it."""
    data = prepared("mmseg-folder", folder, folder.with_name("place"))
    return accepted(lambda: read_pairs(data, "SegFolder", "LoadLabels", labels=data.labels, classes=data.classes))


def read_pairs(data: Any, type: str, load: str, **arguments: Any) -> None:
    """Read all samples of all splits."""
    for split in sorted(set(data.splits.values())):
        stated = {
            key: value.format(split=split) if isinstance(value, str) else value for key, value in arguments.items()
        }
        dataset = build(type=type, data_root=data.root, images=data.images.format(split=split), **stated,
                        pipeline=[dict(type="LoadImageStrict"), dict(type=load)])  # fmt: skip
        for k in range(len(dataset)):
            dataset[k]


def depth() -> Kind:
    """Images with 16-bit depth maps."""
    millimetres = np.random.default_rng(6).integers(500, 9000, (HEIGHT, WIDTH)).astype(np.uint16)
    maps = {f"{k}.png": encode(millimetres + 100 * k) for k in range(2)}
    return Kind([pairs(maps, "depth")], read_depth, renames=True)


def read_depth(folder: Path) -> str | None:
    """Prepare, then read every pair as training reads it."""
    data = prepared("depth-folder", folder, folder.with_name("place"))
    scales = {"depth_scale": data.depth_scale, "max_depth": data.max_depth}
    return accepted(lambda: read_pairs(data, "DepthFolder", "LoadDepth", depths=data.labels, **scales))


def shards() -> Kind:
    """Tars of images with texts."""
    found = []
    for json_caption in (False, True):
        tar = []
        for k, words in enumerate(WORDS):
            about = {"captions": {"all": [words, "again"]}, "tags": ["#a", "b"]}
            about |= {"caption": words} if json_caption else {}
            tar.append(member_of(f"{k:04d}.png", encode(pixels(k))))
            tar += [] if json_caption else [member_of(f"{k:04d}.txt", words.encode())]
            tar.append(member_of(f"{k:04d}.json", json.dumps(about).encode()))
        rest = tar[len(tar) // len(WORDS) :]
        found.append({"shards/00000.tar": write_tar(tar), "shards/00001.tar": write_tar(rest)})
    return Kind(found, read_shards)


def read_shards(folder: Path) -> str | None:
    """Prepare, then read every sample as pretraining does, and as retrieval does."""
    place = folder.with_name("place")
    data = prepared("image-text", folder / "shards", place)
    extra = read(place / "out" / "overlay.py")
    captions = extra.get("captions", "noisy")

    def train() -> None:
        try:
            dataset = ImageTextShards(data.root, 8, captions=captions, pattern=data.pattern, tags={"min_count": 1})
        except UserError:  # prepare says that only methods of images alone can train on these
            captioned = False
            dataset = ImageTextShards(data.root, 8, pattern=data.pattern)
        else:
            captioned = True
        for k in range(len(dataset)):
            dataset[k]
        if captioned:
            list(CaptionedImages(data.root, data.pattern, captions).images())

    return accepted(train)


def tables() -> Kind:
    """Tables of image paths and texts."""
    images = {f"images/{k}.png": encode(pixels(k)) for k in range(2)}
    lines = [{"path": f"images/{k}.png", "text": WORDS[k]} for k in range(2)]
    rows = "".join(f"images/{k}.png,{WORDS[k]}\n" for k in range(2))
    found = [{"table.jsonl": "\n".join(map(json.dumps, lines)).encode()}, {"table.csv": f"path,text\n{rows}".encode()},
             {"table.tsv": f"image\tcaption\n{rows}".replace(",", "\t").encode()}]  # fmt: skip
    return Kind([files | images for files in found], read_tables, fixed=tuple(images))


def read_tables(folder: Path) -> str | None:
    """Prepare, then read every sample."""
    data = prepared("captions", folder, folder.with_name("place"))

    def train() -> None:
        dataset = ImageTextShards(data.root, 8, captions="noisy", pattern=data.pattern)
        for k in range(len(dataset)):
            dataset[k]

    return accepted(train)


def folders() -> Kind:
    """A folder of images per class."""
    files = {
        f"{split}/{name}/{k}.png": encode(pixels(k)) for split in SPLITS for name in ("apple", "sea") for k in (1, 2)
    }
    return Kind([files], read_folders, renames=True)


def read_folders(folder: Path) -> str | None:
    """Prepare, then read every image."""
    data = prepared("image-folder", folder, folder.with_name("place"))

    def train() -> None:
        for root in sorted({data.root, data.test} - {None}):
            dataset = ImageFolder(root, 8)
            for k in range(len(dataset)):
                dataset[k]

    return accepted(train)


def lists() -> Kind:
    """Publishers' lists: Karpathy's splits."""
    entries = [{"filename": f"{k}.jpg", "split": "test", "sentences": [{"raw": f"{words} {n}"} for n in range(5)]}
               for k, words in enumerate(WORDS)]  # fmt: skip
    files = {"dataset_flickr30k.json": json.dumps({"images": entries}).encode()}
    images = {f"flickr30k-images/{k}.jpg": encode(pixels(k), "JPEG") for k in range(len(WORDS))}
    return Kind([files | images], read_lists, fixed=tuple(images))


def read_lists(folder: Path) -> str | None:
    """Prepare, then read every caption."""
    place = folder.with_name("place")
    command("prepare", "flickr30k", folder, "--out", place / "out", "--allow-subset")
    data = read(place / "out" / "overlay.py").data
    return accepted(lambda: list(CaptionedImages(data.root, data.pattern, "human").images()) and None)


def kinds() -> Iterator[tuple[str, Kind]]:
    """Name -> kind of all of them."""
    for make in (coco, images, labels, depth, shards, tables, folders, lists):
        yield make.__name__, make()
