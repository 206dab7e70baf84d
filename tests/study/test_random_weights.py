"""Random weights are drawn without any data, and what prepare prints can be run on a fresh clone."""

import json
import random
import shlex

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from backbones import build_encoder, read_checkpoint
from engine.files import write_json
from engine.provenance import REPOSITORY
from study.configure import load_config
from study.run import run
from tests.datasets.prepare.samples import photograph, save

SHORT = ("--cfg-options", "train_cfg.max_iters=1", "train_dataloader.batch_size=2")


def test_weights_are_those_of_the_seed_and_no_data_are_needed(here):
    for seed in (0, 7):
        cfg = load_config("pretrain/configs/random.py", seed=seed)
        assert run(cfg, "command") is None
        folder = here / f"runs/tiny/pretrain/random/seed{seed}/checkpoint"
        torch.manual_seed(seed)
        random.seed(seed), np.random.seed(seed)
        drawn, stored = build_encoder(**cfg.model.encoder.to_dict()), load_file(folder / "encoder.safetensors")
        assert stored.keys() == drawn.state_dict().keys()
        assert all(torch.equal(value, stored[key]) for key, value in drawn.state_dict().items())
        meta = read_checkpoint(folder)
        assert (meta["method"], meta["seed"], meta["samples_seen"]) == ("random", seed, 0)
        assert meta["data"] == {"name": "none", "samples": 0} and meta["image"]["size"] == 64
    assert not (here / "data").exists()


@pytest.mark.slow
def test_what_prepare_prints_next_runs_on_a_clone_without_data(command, elsewhere, tmp_path):
    mine, rng = tmp_path / "mine", np.random.default_rng(0)
    for split, count in {"train": 3, "val": 1, "test": 1}.items():
        for k in range(count):
            photograph(mine / f"images/{split}/{k}.jpg", seed=k)
            save(mine / f"labels/{split}/{k}.png", rng.integers(0, 2, (8, 12)).astype(np.uint8))
            save(mine / f"depth/{split}/{k}.png", rng.integers(500, 4000, (8, 12)).astype(np.uint16))
        write_json(mine / f"instances_{split}.json", {
            "images": [{"id": k, "file_name": f"{k}.jpg", "height": 8, "width": 12} for k in range(count)],
            "annotations": [{"id": k, "image_id": k, "category_id": 1, "iscrowd": 0, "bbox": [2, 1, 6, 5], "area": 30,
                             "segmentation": [[2, 1, 8, 1, 8, 6, 2, 6]]} for k in range(count)],
            "categories": [{"id": 1, "name": "thing"}],
        })  # fmt: skip
    coco = ("--annotations", mine / "instances_{split}.json", "--images", mine / "images/{split}")
    for kind, flags in (("mmseg-folder", ()), ("depth-folder", ()), ("coco-format", coco)):
        prepared = command("prepare", kind, mine, "--out", f"data/{kind}", *flags, cwd=elsewhere)
        assert prepared.code == 0, prepared.out + prepared.err
        lines = [line.split(maxsplit=1)[1] for line in prepared.out.splitlines() if line.split()[:1] == ["next"]]
        assert len(lines) == 1
        python, script, *words = shlex.split(lines[0])
        assert (python, (elsewhere / script).resolve()) == ("python", REPOSITORY / "tools/train.py")
        ended = command("train", *words, *SHORT, cwd=elsewhere)
        assert ended.code == 0, ended.out + ended.err
        [record] = (elsewhere / f"runs/tiny-{kind}").rglob("result.json")
        assert json.loads(record.read_text())["reference_kind"] == "floor"
        assert not (elsewhere / "data/scenes").exists()
