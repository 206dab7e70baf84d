"""Every kind of encoder trains under every head, from its checkpoint to a result record."""

import pytest
import torch

from backbones import build_encoder, save_checkpoint
from engine.catalogue import DENSE, TASK
from study.run import run

PLAIN = dict(img_size=64, patch_size=8, embed_dim=24, depth=4, num_heads=3)
ENCODERS = {
    "layer_scale": ("vit_tiny_patch16_224", {**PLAIN, "init_values": 0.1}),  # CAE's
    "relative": ("beit_base_patch16_224", {**PLAIN, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True,
                                           "init_values": 0.1, "global_pool": "token"}),  # BEiT's and FD's
    "mobilenetv2": ("mobilenetv2_100", {}),
    "swin_nano": ("swin_tiny_patch4_window7_224", dict(img_size=64, embed_dim=48, depths=(2, 2, 6, 2),
                                                       num_heads=(3, 6, 12, 24))),
}  # fmt: skip


def checkpoint(folder, kind) -> str:
    name, kwargs = ENCODERS[kind]
    torch.manual_seed(0)
    meta = dict(
        method="mae", captions=None, seed=0, scale="tiny", encoder=dict(name=name, kwargs=kwargs), samples_seen=0,
        image=dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], size=64), data=dict(name="none", samples=0),
        updates=0, config_hash="0", code_version="test", parent=None, ledger=None, text=None,
        cost=dict(wall_s=None, samples_per_s=None, peak_memory_mib=None, hardware=None),
    )  # fmt: skip
    save_checkpoint(folder, build_encoder(name, kwargs), meta)
    return str(folder)


@pytest.mark.parametrize("task", DENSE)
@pytest.mark.parametrize("kind", ENCODERS)
def test_trains(configure, in_child, tmp_path, kind, task):
    """Two iterations and the test; in a child, since a run changes process-wide registries and logs."""
    folder = checkpoint(tmp_path / "encoder", kind)
    cfg = configure(TASK[task].config, 2, checkpoint=folder)
    assert in_child(lambda: run(cfg, "test")) == 0
    assert (tmp_path / "run" / "result.json").is_file()
