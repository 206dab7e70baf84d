"""A method and a head added to a copy of the tree by README's steps alone go from a config file to the report."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reports.records import scan
from tests.test_house_rules import ROOT, tracked

METHOD = '''
"""Colour: the encoder's features tell an image's mean colour."""

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from pretrain.base import PretrainMethod


@MODELS.register_module()
class Colour(PretrainMethod):
    """Squared error of the mean colour."""

    def __init__(self, encoder, data_preprocessor=None):
        super().__init__(encoder, data_preprocessor)
        self.head = nn.Linear(self.encoder.num_features, 3)

    def losses(self, inputs):
        """Image [B, 3, H, W] -> the loss."""
        images = inputs["image"]
        return {"loss": F.mse_loss(self.head(self.encoder(images)), images.mean(dim=(2, 3)))}
'''
METHOD_CONFIG = """
_base_ = ["./_base_/pretrain.py"]
method = "colour"
data = dict(name="small", kind="image_folder", root="data/small/imagefolder/pretrain")
model = dict(type="Colour")
train_dataloader = dict(batch_size=8, dataset=dict(views=dict(image=dict(flip=0.5))))
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=3)))
"""
METHOD_ROW = '    Method("colour", "Mean colour", "views"),\n'
HEAD = '''
"""A classifier of each pixel of the finest map."""

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class PixelHead(BaseDecodeHead):
    """A 1x1 convolution, then mmseg's own classifier."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.project = nn.Conv2d(self.in_channels, self.channels, 1)

    def forward(self, inputs):
        """Maps, the finest [B, C, h, w] -> logits [B, classes, h, w]."""
        return self.cls_seg(self.project(self._transform_inputs(inputs)).relu())
'''
HEAD_CONFIG = """
_base_ = ["./_base_/segmentation.py"]
task, head = "pixel", "PixelHead"
custom_imports = dict(imports=["engine.parts", "datasets.segmentation", "backbones", "pixel.head"])
data = dict(name="small", root="data/small", scenes_root=None)
model = dict(
    type="EncoderDecoder", data_preprocessor=_base_.preprocessor, backbone={}, train_cfg={},
    test_cfg=dict(mode="whole"),
    decode_head=dict(
        type="PixelHead", in_channels="<encoder>", in_index=0, channels=16, num_classes="<data>",
        norm_cfg=dict(type="BN"), align_corners=False, loss_decode=dict(type="CrossEntropyLoss"),
    ),
)
at_scale = dict(tiny=dict(train_cfg=dict(max_iters=3)))
"""
HEAD_ROW = """    Task("pixel", "Pixels", "seg_configs/pixel.py", "dense", ("seg",), "image-segmentation", (
        Metric("mIoU", "mIoU Pixels", "mIoU", hub="mean_iou"),
    )),
"""


@pytest.fixture
def tree(tmp_path, scenes_root) -> Path:
    """The tracked files in a folder of their own, with a small data set and without runs."""
    copy = tmp_path / "tree"
    for path in tracked("*"):
        place = copy / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    (copy / "data").mkdir(exist_ok=True)
    (copy / "data/small").symlink_to(scenes_root)
    return copy


def add_row(catalogue: Path, table: str, row: str) -> None:
    """Append a row to a table of the catalogue."""
    text, rows = re.subn(rf"(?ms)^({table} = \($.*?)^\)", lambda found: f"{found[1]}{row})", catalogue.read_text())
    assert rows == 1
    catalogue.write_text(text)


def python(tree: Path, *words: str, status: int = 0) -> str:
    """Run a command in the tree, as a user would; return what it printed."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, *words], cwd=tree, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@pytest.mark.slow
def test_one_file_one_config_and_one_row_are_enough(tree):
    (tree / "pretrain/methods/colour.py").write_text(METHOD.lstrip())
    (tree / "pretrain/configs/colour.py").write_text(METHOD_CONFIG.lstrip())
    (tree / "pixel").mkdir()
    (tree / "pixel/head.py").write_text(HEAD.lstrip())
    (tree / "seg_configs/pixel.py").write_text(HEAD_CONFIG.lstrip())
    add_row(tree / "engine/catalogue.py", "METHODS", METHOD_ROW)
    add_row(tree / "engine/catalogue.py", "TASKS", HEAD_ROW)

    python(tree, "tools/train.py", "pretrain/configs/colour.py")
    python(tree, "tools/train.py", "seg_configs/pixel.py", "--encoder", "colour")
    study = ("tools/study.py", "demo", "--methods", "colour", "--tasks", "pixel", "--seeds", "0", "1", "--jobs", "1")
    said = python(tree, *study)
    assert "2 of 3 runs are already finished" in said, "the study takes what the two commands left for its own"
    assert "pixel colour seed 1: done" in said

    python(tree, "-m", "reports", "runs/tiny", "--out", "report/demo")
    with open(tree / "report/demo/main.csv") as handle:
        (row,) = csv.DictReader(handle)
    assert (row["task"], row["metric"], row["method"], row["state"], row["n"]) == ("pixel", "mIoU", "colour", "ok", "2")
    page = (tree / "report/demo/report.md").read_text()
    assert "Mean colour" in page and "mIoU Pixels (%)" in page
    (card,) = (tree / "report/demo/cards").glob("*.md")
    assert '"type": "image-segmentation", "name": "Pixels"' in card.read_text()

    records, unused = scan(tree / "runs/tiny")  # with the catalogue of this checkout, which has no such row
    assert records == [] and len(unused) == 2 and all("task breaks the record schema" in u.reason for u in unused)
