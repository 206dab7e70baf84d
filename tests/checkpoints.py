"""A small contrastive checkpoint, and one without a text tower."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

import pretrain  # noqa: F401  registers methods
from backbones import save_checkpoint
from backbones.text import compact_vocabulary
from engine.config import read
from pretrain.base import PretrainMethod
from scenes.world import COLOURS, MATERIALS, SHAPES
from tests.pretrain.samples import ENCODER, TEXT, write_shards

META = {
    "method": "clip", "captions": "aligned", "seed": 0, "scale": "tiny", "data": {"name": "scenes", "samples": 8},
    "samples_seen": 8, "updates": 1, "config_hash": "abc", "code_version": "0", "parent": None, "ledger": None,
    "cost": {"wall_s": 1.0, "samples_per_s": 8.0, "peak_memory_mib": None, "hardware": {"device": "cpu"}},
}  # fmt: skip


def any_encoder(config: str | Path) -> str | None:
    """A method for a config that serves the encoders of all; None for one that has its own."""
    if not Path(config).is_file():  # the name of a pair of head and method
        return None
    stated = read(Path(config))
    return None if "method" in stated or stated.task == "pretrain" else "random"


def build(**arguments: object) -> PretrainMethod:
    """A method of this suite, whatever scope an earlier test of the process left: mmseg has an MAE of its own."""
    with DefaultScope.overwrite_default_scope("mmengine"):
        return MODELS.build(arguments)


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """(folder, model): a CLIP with random weights and statistics of images that are not ImageNet's."""
    torch.manual_seed(0)
    words = compact_vocabulary([" ".join([*SHAPES, *COLOURS, *MATERIALS, "a photo of the object thing"])])
    preprocessor = {"type": "ImagePreprocessor", "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.1)}
    text = {**TEXT, "vocabulary": words}
    model = build(type="CLIP", encoder=ENCODER, text=text, data_preprocessor=preprocessor).eval()
    meta = {**META, **model.checkpoint_meta()}
    meta["image"]["size"] = 32
    folder = tmp_path_factory.mktemp("clip") / "checkpoint"
    save_checkpoint(folder, model.encoder, meta, model.text_state())
    return folder, model


@pytest.fixture(scope="session")
def mae(tmp_path_factory):
    """The folder of a checkpoint without a text tower."""
    model = build(type="MAE", encoder=ENCODER)
    meta = {**META, **model.checkpoint_meta(), "method": "mae", "captions": None}
    meta["image"]["size"] = 32
    folder = tmp_path_factory.mktemp("mae") / "checkpoint"
    save_checkpoint(folder, model.encoder, meta)
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("data") / "shards", 25)


@pytest.fixture
def text(shards):
    from pretrain.data.captions import shard_vocabulary

    return {**TEXT, "vocabulary": shard_vocabulary(shards)}
