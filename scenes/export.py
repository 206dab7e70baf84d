"""Write the scenes to disk in the layouts real data use.

Under the root: images/, seg/, depth/ (one PNG per scene, a folder per split), coco/instances_<split>.json, shards/*.tar
(WebDataset: KEY.png, KEY.txt, KEY.json), imagefolder/<split>/<class>/, and manifest.json, written last: its presence
means that everything is there. A file's number is the scene's global index; the splits' ranges never meet.

An export is cut into chunks. A chunk's files count only once its part file, with their checksums, is in .parts/; an
export that was interrupted checks those, renders what is missing and gives the same bytes as one that was not.
"""

import json
import multiprocessing
import os
import shutil
import time
import traceback
import zlib
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from engine.errors import UserError
from engine.files import SEAL, locked, read_object, seal_holds, sealed, write_json, write_text, writing
from scenes.captions import captions
from scenes.layouts import write_coco, write_imagefolder, write_shards
from scenes.manifest import SCHEMA, VERSION, checksums, finished, load, refuse_other
from scenes.render import View, view
from scenes.world import CLASSES, MAX_DEPTH, PALETTE, SHAPES

GENERATOR = 1  # rises when the same (seed, index) would give other images, labels or captions
DEFAULT_COUNTS = {"pretrain": 8192, "train": 128, "val": 128, "test": 256}
COUNTS_AT = {"study": {"pretrain": 16384}}  # of a scale, where they differ
SPLIT_START = {"train": 0, "val": 100_000, "test": 200_000, "pretrain": 300_000}
SPLIT_STOP = {"train": 100_000, "val": 200_000, "test": 300_000, "pretrain": 1_000_000}
SHARD_SPLITS, IMAGEFOLDER_SPLITS = ("pretrain", "test"), ("pretrain", "val", "test")
CHUNK = 64  # scenes
MIN_SIZE, MAX_SIZE = 16, 2048


def ensure(
    root: str | Path, size: int = 64, counts: dict[str, int] | None = None, seed: int = 0, processes: int | None = None
) -> dict[str, Any]:
    """Make the export under `root` complete and return its manifest; at once when it already is.

    size: edge of the square images in pixels. counts: scenes per split; a split not named has its DEFAULT_COUNTS.
    processes: worker processes, one per core by default; the result does not depend on it. A caller that comes while
    another process exports waits for it. Raises UserError when `root` holds something else than this request.
    """
    root = Path(root)
    request = _request(size, counts, seed)
    if (manifest := finished(root, request)) is not None:
        return manifest
    _refuse_foreign(root)
    with locked(root / ".lock"):  # workers inherit it, so that none still writes when it is free
        if (manifest := finished(root, request)) is not None:
            return manifest
        started, parts = time.perf_counter(), root / ".parts"
        if (parts / "request.json").exists():
            refuse_other(root, load(parts / "request.json"), request)
        write_json(parts / "request.json", request)
        chunks = _chunks(request["counts"])
        todo = [c for c in chunks if not _is_done(root, c)]
        _render(root, request, todo, processes or os.cpu_count() or 1)
        manifest = _assemble(root, request, chunks)
        rendered = sum(stop - start for _, start, stop in todo)
        manifest["mean_rate"] = round(rendered / (time.perf_counter() - started), 1)
        os.sync()  # the chunks' files were not flushed one by one
        write_json(root / "manifest.json", manifest)
        shutil.rmtree(parts)
        return manifest


def _request(size: int, counts: dict[str, int] | None, seed: int) -> dict[str, Any]:
    """Check the arguments and return the part of the manifest that they decide."""
    unknown = sorted(set(counts or {}) - set(SPLIT_START))
    if unknown:
        raise UserError(f"scenes: unknown split {unknown[0]!r} in counts; use {', '.join(DEFAULT_COUNTS)}")
    merged = {**DEFAULT_COUNTS, **(counts or {})}
    for split, count in merged.items():
        room = SPLIT_STOP[split] - SPLIT_START[split]
        if not 0 <= count <= room:
            raise UserError(f"scenes: count {count} for split {split!r} is not within 0..{room}; choose another")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UserError(f"scenes: size {size} is not within {MIN_SIZE}..{MAX_SIZE} pixels; choose another")
    if seed < 0:
        raise UserError(f"scenes: seed {seed} is negative; choose 0 or more")
    return {
        "schema": SCHEMA, "version": VERSION, "generator": GENERATOR, "seed": seed, "size": size, "counts": merged,
    }  # fmt: skip


def _refuse_foreign(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise UserError(f"{root}: is not a folder; choose another root")
    if root.exists() and any(root.iterdir()) and not (root / ".parts").is_dir() and not (root / ".lock").exists():
        raise UserError(f"{root}: holds files that are not an export of scenes; choose an empty or new folder")


Chunk = tuple[str, int, int]  # split, first global index, end


def _chunks(counts: dict[str, int]) -> list[Chunk]:
    chunks = []
    for split, start in SPLIT_START.items():
        stop = start + counts[split]
        chunks += [(split, k, min(k + CHUNK, stop)) for k in range(start, stop, CHUNK)]
    return chunks


def _part_path(root: Path, chunk: Chunk) -> Path:
    return root / ".parts" / f"{chunk[1]:06d}.json"


def _is_done(root: Path, chunk: Chunk) -> bool:
    """Whether the chunk's part file exists and every file it names has the checksum it states."""
    path = _part_path(root, chunk)
    if not path.exists():
        return False
    try:
        part = read_object(path, "it is rendered again")
    except UserError:
        return False
    if not seal_holds(part) or SEAL not in part:
        return False
    files = {name: crc for scene in part["scenes"] for name, crc in scene["files"].items()}
    return all((root / n).is_file() and zlib.crc32((root / n).read_bytes()) == crc for n, crc in files.items())


def _render(root: Path, request: dict[str, Any], todo: list[Chunk], processes: int) -> None:
    """Render the chunks, in this process or in `processes` others, with a progress bar."""
    total = sum(stop - start for _, start, stop in todo)
    for chunk in todo:
        for kind in ("images", "seg", "depth"):
            (root / kind / chunk[0]).mkdir(parents=True, exist_ok=True)
    processes = min(processes, len(todo))
    if processes <= 1:
        with tqdm(total=total, unit="img", desc="scenes", disable=not total) as bar:
            for chunk in todo:
                bar.update(render_chunk(root, request, chunk))
        return
    workers, pipes = [], []
    try:
        for k in range(processes):  # before the bar, whose monitor thread must not be copied
            receiver, sender = multiprocessing.Pipe(duplex=False)
            worker = multiprocessing.Process(
                target=_work, args=(root, request, todo[k::processes], sender, os.getpid()), daemon=True
            )
            worker.start()
            sender.close()
            workers.append(worker)
            pipes.append(receiver)
        with tqdm(total=total, unit="img", desc=f"scenes ({processes} processes)") as bar:
            _collect(pipes, bar)
        for worker in workers:
            worker.join()
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def _collect(pipes: list[Connection], bar: tqdm) -> None:
    """Advance `bar` by what the workers report until all have said None."""
    pipes = list(pipes)
    while pipes:
        for pipe in wait(pipes):
            try:
                message = pipe.recv()
            except EOFError:
                raise RuntimeError("scenes: a worker process died; run again to go on from here") from None
            if isinstance(message, UserError):
                raise message
            if isinstance(message, str):
                raise RuntimeError(f"scenes: a worker process failed:\n{message}")
            if message is None:
                pipes.remove(pipe)
            else:
                bar.update(message)


def _work(root: Path, request: dict[str, Any], todo: list[Chunk], sender: Connection, parent: int) -> None:
    """A worker process: render chunks until none is left or the parent is gone."""
    try:
        for chunk in todo:
            if os.getppid() != parent:
                return
            sender.send(render_chunk(root, request, chunk))
        sender.send(None)
    except UserError as error:
        sender.send(error)
    except BaseException:  # reported by the parent, whatever it was
        sender.send(traceback.format_exc())


def render_chunk(root: Path, request: dict[str, Any], chunk: Chunk) -> int:
    """Render one chunk's files and then its part file; return its number of scenes."""
    split, start, stop = chunk
    scenes = []
    for index in range(start, stop):
        shot = view(request["seed"], index, request["size"])
        millimetres = np.round(shot.depth * 1000).astype(np.uint16)
        files = {}
        for kind, array in (("images", shot.rgb[..., ::-1]), ("seg", shot.semantic), ("depth", millimetres)):
            name = f"{kind}/{split}/{index:06d}.png"
            data = cv2.imencode(".png", array)[1].tobytes()
            with writing(root / name):
                (root / name).write_bytes(data)  # not atomic: the part file's checksum vouches for it
            files[name] = zlib.crc32(data)
        scenes.append(
            {
                "index": index,
                "files": files,
                "captions": captions(shot, request["seed"], index),
                "pixels": np.bincount(shot.semantic.ravel(), minlength=len(CLASSES)).tolist(),
                "instances": _instances(shot),
            }
        )
    write_text(_part_path(root, chunk), json.dumps(sealed({"scenes": scenes})))
    return len(scenes)


def _instances(shot: View) -> list[dict[str, Any]]:
    """COCO fields of every solid with a visible pixel, in the scene graph's order."""
    found = []
    for k, thing in enumerate(shot.scene.things):
        mask = shot.instance == k + 1
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not rows.size:
            continue
        rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        found.append(
            {
                "category_id": SHAPES.index(thing.shape) + 1,
                "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
                "bbox": [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1],
                "area": int(mask.sum()),
                "iscrowd": 0,
            }
        )
    return found


def _assemble(root: Path, request: dict[str, Any], chunks: list[Chunk]) -> dict[str, Any]:
    """Write what spans chunks (COCO, shards, image folders) and return the manifest without its rate."""
    splits: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLIT_START}
    for chunk in chunks:
        splits[chunk[0]] += json.loads(_part_path(root, chunk).read_text())["scenes"]
    pixels, instances = np.zeros(len(CLASSES), np.int64), 0
    for split, scenes in splits.items():
        for scene in scenes:
            pixels += np.array(scene["pixels"])
            instances += len(scene["instances"])
        write_coco(root, split, scenes, request["size"])
        if split in SHARD_SPLITS:
            write_shards(root, split, scenes)
        if split in IMAGEFOLDER_SPLITS:
            write_imagefolder(root, split, scenes)
    total = sum(request["counts"].values())
    return {
        **request,
        "splits": {s: [SPLIT_START[s], SPLIT_START[s] + n] for s, n in request["counts"].items()},
        "classes": list(CLASSES),
        "palette": [list(colour) for colour in PALETTE],
        "max_depth_m": MAX_DEPTH,
        "depth_unit_m": 0.001,
        "pixel_share": [round(float(n) / max(1, pixels.sum()), 5) for n in pixels],
        "objects_per_image": round(instances / max(1, total), 3),
        "sha256": checksums(root),
    }
