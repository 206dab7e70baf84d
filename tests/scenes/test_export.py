"""Files on disk against the scenes they come from; interruption, mismatch, determinism."""

import io
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from engine.errors import UserError
from scenes import export
from scenes.render import view
from scenes.world import CLASSES, SHAPES
from tools.scenes import main

COUNTS = {"pretrain": 70, "train": 5, "val": 4, "test": 6}
SPLITS = tuple(COUNTS)


def tree(root):
    """{path: bytes} of everything but the lock; the manifest without its measured rate."""
    files = {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
    files.pop(".lock")
    manifest = json.loads(files.pop("manifest.json"))
    manifest.pop("mean_rate")
    return files, manifest


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole") / "scenes"
    manifest = export.ensure(root, 32, COUNTS, seed=3, processes=1)
    return root, manifest


def test_manifest(made):
    root, manifest = made
    assert manifest == json.loads((root / "manifest.json").read_text())
    assert manifest["schema"] == "densebench/scenes" and manifest["version"] == 1
    assert manifest["classes"] == list(CLASSES) and len(manifest["palette"]) == 8
    assert (manifest["seed"], manifest["size"], manifest["counts"]) == (3, 32, COUNTS)
    assert not (root / ".parts").exists()


def test_splits_never_share_an_index(made):
    root, _ = made
    names = {s: {p.stem for p in (root / "images" / s).iterdir()} for s in SPLITS}
    assert {s: len(n) for s, n in names.items()} == COUNTS
    assert len(set().union(*names.values())) == sum(COUNTS.values())
    ranges = sorted((export.SPLIT_START[s], export.SPLIT_STOP[s]) for s in SPLITS)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ranges))


@pytest.mark.parametrize("split", SPLITS)
def test_files_hold_what_the_renderer_gives(made, split):
    root, _ = made
    coco = COCO(root / "coco" / f"instances_{split}.json")
    assert [c["name"] for c in coco.dataset["categories"]] == list(SHAPES)
    assert len(coco.imgs) == COUNTS[split]
    for path in sorted((root / "images" / split).iterdir())[:6]:
        shot = view(3, int(path.stem), 32)
        assert (cv2.imread(str(path))[..., ::-1] == shot.rgb).all()
        seg = cv2.imread(str(root / "seg" / split / path.name), cv2.IMREAD_UNCHANGED)
        depth = cv2.imread(str(root / "depth" / split / path.name), cv2.IMREAD_UNCHANGED)
        assert seg.dtype == np.uint8 and (seg == shot.semantic).all()
        assert depth.dtype == np.uint16 and depth.min() > 0 and depth.max() < 10_000
        assert np.abs(depth / 1000 - shot.depth).max() <= 0.00051
        image = coco.imgs[int(path.stem)]
        assert image["file_name"] == path.name and (image["width"], image["height"]) == (32, 32)
        from_coco = np.zeros((32, 32), np.uint8)
        annotations = coco.imgToAnns[int(path.stem)]
        assert len(annotations) == len(np.unique(shot.instance[shot.instance > 0]))
        for a in annotations:
            mask = coco.annToMask(a).astype(bool)
            x, y, w, h = a["bbox"]
            assert a["iscrowd"] == 0 and a["area"] == mask.sum() and isinstance(a["segmentation"]["counts"], str)
            box = np.zeros_like(mask)
            box[y : y + h, x : x + w] = True
            assert not (mask & ~box).any()
            assert mask[y].any() and mask[y + h - 1].any() and mask[:, x].any() and mask[:, x + w - 1].any()
            assert not from_coco[mask].any()
            from_coco[mask] = a["category_id"] + 1
            assert len(np.unique(shot.instance[mask])) == 1
        assert (from_coco == np.where(seg >= 2, seg, 0)).all()


@pytest.mark.parametrize("split", ["pretrain", "test"])
def test_shards_and_imagefolder(made, split):
    root, _ = made
    with tarfile.open(root / "shards" / f"{split}-00000.tar") as tar:
        names = tar.getnames()
        members = {n: tar.extractfile(n).read() for n in names}
    keys = [f"{export.SPLIT_START[split] + k:06d}" for k in range(COUNTS[split])]
    assert names == [f"{key}.{suffix}" for key in keys for suffix in ("png", "txt", "json")]
    for key in keys:
        meta = json.loads(members[f"{key}.json"])
        assert set(meta) == {"captions", "label"}
        assert set(meta["captions"]) == {"noisy", "aligned", "rewritten", "enriched"}
        assert members[f"{key}.txt"].decode() == meta["captions"]["noisy"]
        assert members[f"{key}.png"] == (root / "images" / split / f"{key}.png").read_bytes()
        seg = cv2.imread(str(root / "seg" / split / f"{key}.png"), cv2.IMREAD_UNCHANGED)
        assert (seg == meta["label"] + 2).any()
        copy = root / "imagefolder" / split / SHAPES[meta["label"]] / f"{key}.png"
        assert copy.read_bytes() == members[f"{key}.png"]
    shot = view(3, int(keys[0]), 32)
    largest = int(np.bincount(shot.instance[shot.instance > 0]).argmax()) - 1
    first = json.loads(members[f"{keys[0]}.json"])["label"]
    assert SHAPES[first] == shot.scene.things[largest].shape
    assert len(list((root / "imagefolder" / split).rglob("*.png"))) == COUNTS[split]


def test_shard_is_cut_at_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr("scenes.layouts.SHARD_SIZE", 3)
    export.ensure(tmp_path / "s", 32, {"pretrain": 7, "train": 0, "val": 0, "test": 0}, processes=1)
    sizes = []
    for path in sorted((tmp_path / "s" / "shards").iterdir()):
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
            sizes.append(len(tar.getnames()) // 3)
    assert sizes == [3, 3, 1]


def test_bytes_do_not_depend_on_the_number_of_processes(made, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "CHUNK", 16)
    export.ensure(tmp_path / "s", 32, COUNTS, seed=3, processes=3)
    assert tree(tmp_path / "s") == tree(made[0])


def test_complete_export_returns_at_once(made, monkeypatch):
    root, manifest = made
    monkeypatch.setattr(export, "render_chunk", None)
    assert export.ensure(root, 32, COUNTS, seed=3) == manifest


def test_interrupted_export_goes_on_and_ends_the_same(made, tmp_path, monkeypatch):
    root, calls = tmp_path / "s", []
    monkeypatch.setattr(export, "CHUNK", 16)
    whole = export.render_chunk

    def stops(root, request, chunk):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(chunk)
        return whole(root, request, chunk)

    monkeypatch.setattr(export, "render_chunk", stops)
    with pytest.raises(KeyboardInterrupt):
        export.ensure(root, 32, COUNTS, seed=3, processes=1)
    assert not (root / "manifest.json").exists()
    with pytest.raises(UserError, match="seed is 3, asked for 4"):
        export.ensure(root, 32, COUNTS, seed=4, processes=1)
    damaged = root / "seg" / calls[1][0] / f"{calls[1][1]:06d}.png"
    damaged.write_bytes(damaged.read_bytes()[:20])  # as after a power failure
    again = []
    monkeypatch.setattr(export, "render_chunk", lambda *a: again.append(a[2]) or whole(*a))
    export.ensure(root, 32, COUNTS, seed=3, processes=1)
    assert calls[0] not in again and calls[2] not in again and calls[1] in again
    assert tree(root) == tree(made[0])


def test_killed_export_goes_on_and_ends_the_same(made, tmp_path):
    root = tmp_path / "s"
    code = (
        "import sys; from scenes import export; export.CHUNK = 8\n"
        f"export.ensure(sys.argv[1], 32, {COUNTS!r}, seed=3, processes=2)"
    )
    where = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", code, str(root)], cwd=where, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(root.glob(".parts/[0-9]*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (root / "manifest.json").exists()
    subprocess.run([sys.executable, "-c", code, str(root)], cwd=where, check=True, capture_output=True)
    assert tree(root) == tree(made[0])


def test_a_failing_worker_is_reported(tmp_path, monkeypatch):
    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(export, "render_chunk", fails)
    with pytest.raises(RuntimeError, match="disk full"):
        export.ensure(tmp_path / "s", 32, {**COUNTS, "pretrain": 200}, processes=2)
    assert not (tmp_path / "s" / "manifest.json").exists()


def test_requests_that_differ_are_refused(made):
    root, _ = made
    for change, words in (
        ({"size": 64}, "size is 32, asked for 64"),
        ({"seed": 4}, "seed is 3, asked for 4"),
        ({"counts": {**COUNTS, "pretrain": 90}}, "pretrain count is 70, asked for 90"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            export.ensure(root, **{"size": 32, "seed": 3, "counts": COUNTS, **change})
        assert "delete the folder or choose another root" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_bad_arguments_and_foreign_folders_are_refused(tmp_path):
    for arguments, words in (
        ({"counts": {"training": 3}}, "training"),
        ({"counts": {"val": -1}}, "val"),
        ({"size": 4}, "size 4"),
        ({"seed": -1}, "seed -1"),
    ):
        with pytest.raises(UserError, match=words):
            export.ensure(tmp_path / "s", **arguments)
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="not an export"):
        export.ensure(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        export.ensure(tmp_path / "m")


def test_command_line(made, tmp_path, capsys):
    root, _ = made
    counts = ",".join(f"{s}={n}" for s, n in COUNTS.items())
    main(["--out", str(root), "--counts", counts, "--size", "32", "--seed", "3"])
    assert "pretrain 70" in capsys.readouterr().out
    with pytest.raises(UserError, match="48"):
        main(["--out", str(root), "--counts", counts, "--size", "48"])
    with pytest.raises(SystemExit):
        main(["--counts", "train:5"])


@pytest.mark.parametrize("processes", [1, 2])
def test_a_disk_without_room_is_a_sentence(in_child, tmp_path, processes):
    def write():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        with pytest.raises(UserError, match="cannot be written .*File too large"):
            export.ensure(tmp_path / "scenes", counts=dict.fromkeys(SPLITS, 2), processes=processes)

    assert in_child(write) == 0
    assert not (tmp_path / "scenes" / "manifest.json").exists()


@pytest.mark.parametrize("name", ["shards/test-00000.tar", "coco/instances_val.json"])
def test_what_no_longer_has_its_checksum_is_made_again(tmp_path, capsys, name):
    counts = {"pretrain": 1, "train": 1, "val": 1, "test": 2}
    export.ensure(tmp_path / "scenes", 16, counts, processes=1)
    before, path = tree(tmp_path / "scenes"), tmp_path / "scenes" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    export.ensure(tmp_path / "scenes", 16, counts, processes=1)
    assert f"{name} does not fit its checksum; the scenes are made again" in capsys.readouterr().out
    assert tree(tmp_path / "scenes") == before
    export.ensure(tmp_path / "scenes", 16, counts, processes=1)
    assert "checksum" not in capsys.readouterr().out
