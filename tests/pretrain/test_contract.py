"""Every method on every encoder that makes sense: it builds, steps, stores, loads again and becomes a backbone."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS

import backbones  # noqa: F401  registers the adapters
from backbones import describe_encoder, load_encoder, save_checkpoint
from backbones.pyramid import kind_of
from benchmarks.methods import build
from engine.errors import UserError
from study.configure import load_config

VIT = dict(img_size=64, patch_size=8, embed_dim=24, depth=4, num_heads=3)
RELATIVE = dict(use_rel_pos_bias=False, use_shared_rel_pos_bias=True, init_values=0.1, global_pool="token")
NANO = dict(img_size=64, embed_dim=48, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24))
ENCODERS = {
    "vit": dict(name="vit_tiny_patch16_224", kwargs=VIT),
    "openai": dict(name="vit_base_patch16_clip_quickgelu_224", kwargs=VIT),
    "beit": dict(name="beit_base_patch16_224", kwargs={**VIT, **RELATIVE}),
    "resnet18": dict(name="resnet18", kwargs={}),
    "mobilenetv2": dict(name="mobilenetv2_100", kwargs={}),
    "swin_nano": dict(name="swin_tiny_patch4_window7_224", kwargs=NANO),
    "fastvit": dict(name="fastvit_mci0", kwargs={}),
}
ANY = {*ENCODERS}
PLAIN = {"vit", "openai"}
TAKES = {  # one config of each method
    "clip": ANY, "datacompdr": ANY, "slip": ANY, "declip": ANY, "lightclip": ANY, "supervised": ANY, "wsp": ANY,
    "moco_v3": PLAIN, "dino": ANY, "maskclip": PLAIN, "mae": PLAIN, "cae": PLAIN, "beit": {"beit"},
    "fd": {*PLAIN, "beit"}, "oracle": PLAIN,
}  # fmt: skip


def test_every_method_is_held_to_the_contract():
    configs = {path.stem: load_config(path).model.type for path in Path("pretrain/configs").glob("*.py")}
    assert {configs[name] for name in TAKES} == {*configs.values()} - {"RandomInit"}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("method", TAKES)
def test_contract(method, encoder, tmp_path):
    if encoder not in TAKES[method]:
        with pytest.raises(UserError, match=r"(choose|use) .*(vit|beit|resnet)"):
            build(method, "tiny", 4, 6, tmp_path, ENCODERS[encoder])
        return
    bench = build(method, "tiny", 4, 6, tmp_path, ENCODERS[encoder])
    before = {name: value.clone() for name, value in bench.model.encoder.state_dict().items()}
    bench.step()
    after = bench.model.encoder.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert any(not torch.equal(before[name], value) for name, value in after.items()), "the step changed nothing"

    meta = dict(
        method=method, captions=None, seed=0, scale="tiny", data=dict(name="none", samples=4), samples_seen=4,
        updates=1, config_hash=bench.cfg.config_hash, code_version="test", parent=None, ledger=None,
        cost=dict(wall_s=1.0, samples_per_s=4.0, peak_memory_mib=None, hardware=None), **bench.model.checkpoint_meta(),
    )  # fmt: skip
    meta["image"]["size"] = 64
    save_checkpoint(tmp_path / "checkpoint", bench.model.encoder, meta, bench.model.text_state())
    loaded = load_encoder(tmp_path / "checkpoint")[0].eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), bench.model.encoder.eval()(images), rtol=0, atol=0)
    backbone = MODELS.build(dict(type=kind_of(describe_encoder(loaded)), checkpoint=str(tmp_path / "checkpoint")))
    maps = backbone.eval()(torch.randn(1, 3, 64, 96))
    assert len(maps) == 4 and all(torch.isfinite(m).all() for m in maps)
    assert [m.shape[1] for m in maps] == list(backbone.out_channels)
