"""A light encoder from end to end: pretrained with captions, then fine-tuned under the head for mobile encoders."""

import json

import torch

from backbones import read_checkpoint
from study.run import run


def test_resnet18_goes_from_clip_to_semantic_fpn(configure, in_child, tmp_path):
    """In children, since a run changes process-wide registries and logs."""
    first, second = tmp_path / "clip", tmp_path / "fpn"
    pretraining = configure("pretrain/configs/clip_resnet18.py", 1, first)
    assert in_child(lambda: run(pretraining, "test")) == 0
    checkpoint = first / "checkpoint"
    meta = read_checkpoint(checkpoint)
    assert (meta["encoder"], meta["updates"]) == ({"name": "resnet18", "kwargs": {}}, 1)
    tuning = configure("seg_configs/semantic_fpn_clip.py", 1, second, checkpoint=str(checkpoint))
    assert in_child(lambda: run(tuning, "test")) == 0
    ledger = json.loads((second / "ledger.json").read_text())
    assert len(ledger["loaded"]) == 120 and not ledger["dropped"] and not ledger["new"]
    state = torch.load(next((second / "state").glob("*.pt")), weights_only=True)["model"]
    assert state["neck.lateral_convs.3.conv.weight"].shape == (32, 512, 1, 1)
