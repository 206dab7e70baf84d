"""Finished runs, trained once for all test processes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from backbones import build_encoder, save_checkpoint
from engine.catalogue import TASK
from engine.files import locked
from study.configure import load_config
from study.run import run
from tests.checkpoints import META

ENCODER = {"name": "vit_tiny_patch16_224",
           "kwargs": {"img_size": 64, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 3}}  # fmt: skip
IMAGE = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1], "size": 64}
ITERS = {"mask_rcnn": 60, "upernet": 10, "depth": 4}


@pytest.fixture
def finished(scenes_root, in_child, tmp_path_factory) -> Callable[[str], Path]:
    """`finished("upernet")`: the folder of a run of that task with its predictions, whose encoder's checkpoint and
    training images are gone."""
    base = tmp_path_factory.getbasetemp()
    base = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "finished"

    def train(task: str) -> None:
        torch.manual_seed(0)
        folder, config = base / f"encoder-{task}", TASK[task].config
        meta = {**META, "method": "mae", "captions": None, "encoder": ENCODER, "image": IMAGE, "text": None}
        save_checkpoint(folder, build_encoder(**ENCODER), meta)
        stated = load_config(config, encoder=str(folder)).data.to_dict()
        stated.pop("scenes_root", None)  # which would render the whole scenes there
        overlay = base / f"{task}.py"
        overlay.write_text(f"data = {stated | {'name': 'small', 'root': str(scenes_root)}!r}\n")
        options = {"train_cfg.max_iters": ITERS[task], "train_dataloader.batch_size": 8}
        work_dir = str(base / task)
        cfg = load_config(config, encoder=str(folder), data=str(overlay), work_dir=work_dir, options=options)
        run(cfg, "a command", save_predictions=True)

    def make(task: str) -> Path:
        with locked(base / f"{task}.lock"):
            if not (base / task / "result.json").is_file():
                assert in_child(train, task) == 0
                (base / f"encoder-{task}").rename(base / f"gone-{task}")
        return base / task

    return make
