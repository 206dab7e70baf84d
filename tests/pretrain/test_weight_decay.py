"""Which tensors decay at scale "paper", by the rules of the published code written out here."""

import pytest
import torch
from mmengine.registry import MODELS

from engine.errors import UserError
from pretrain.optim import DecayGroups
from pretrain.tokenizer.dvae import Encoder
from study.configure import load_config
from tests.pretrain.parents import write_parent
from tests.pretrain.samples import ENCODER

BEIT = {
    "name": "beit_base_patch16_224",
    "kwargs": {
        **ENCODER["kwargs"], "use_abs_pos_emb": False, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True,
        "use_fc_norm": False,
    },
}  # fmt: skip


def matrices(name, tensor):
    """facebookresearch/mae and dino; Atten4Vis/CAE, whose model names no exception."""
    return tensor.ndim > 1


def but_positions_and_class_token(name, tensor):
    """microsoft/unilm/beit, SwinTransformer/Feature-Distillation and DeiT: `no_weight_decay` of the model."""
    return tensor.ndim > 1 and name.split(".")[-1] not in ("pos_embed", "cls_token")


def slips(name, tensor):
    """facebookresearch/SLIP and LijieFan/LaCLIP; Sense-GVT/DeCLIP and open_clip exempt the same kinds."""
    return not (tensor.ndim < 2 or "bias" in name or "ln" in name or "bn" in name)


def everything(name, tensor):
    """facebookresearch/moco-v3: `AdamW(model.parameters(), ...)`."""
    return True


RULES = {
    "mae": matrices, "cae": matrices, "dino": matrices, "beit": but_positions_and_class_token,
    "fd": but_positions_and_class_token, "supervised": but_positions_and_class_token, "clip": slips, "slip": slips,
    "declip": slips, "clip_rewritten": slips, "datacompdr": slips, "moco_v3": everything,
}  # fmt: skip
SMALL = {
    "mae": dict(decoder_width=16, decoder_depth=1, decoder_heads=2),
    "cae": dict(target="pixel", num_masked=6, width=24, heads=2, regressor_depth=1, decoder_depth=1),
    "dino": dict(head=dict(hidden=8, bottleneck=4, codes=8)),
    "moco_v3": dict(hidden=8, dim=4),
    "slip": dict(projector=(8, 4)),
    "declip": dict(projector=8, bottleneck=4, bank=8),
    "supervised": dict(num_classes=3),
}


@pytest.mark.parametrize("method", RULES)
def test_decayed_tensors(method, text, tmp_path):
    cfg = load_config(f"pretrain/configs/{method}.py", scale="paper")
    arguments = dict(SMALL.get(method, {}))
    if "text" in cfg.model:
        arguments["text"] = text
    if method == "fd":
        arguments["teacher"] = str(write_parent(tmp_path / "teacher", "clip", ENCODER))
    if method == "beit":
        torch.save(Encoder(20, 4, 1).state_dict(), tmp_path / "tokens.pth")
        arguments |= dict(mask_count=6, tokenizer=dict(type="dvae", file=str(tmp_path / "tokens.pth")))
    encoder = BEIT if method in ("beit", "fd") else ENCODER
    model = MODELS.build(dict(type=cfg.model.type, encoder=encoder, **arguments))
    learned = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    settings = dict(optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05))
    groups = DecayGroups(settings, cfg.optim_wrapper.get("paramwise_cfg"))(model).optimizer.param_groups
    decayed = {id(tensor) for group in groups if group["weight_decay"] for tensor in group["params"]}
    found = {name for name, tensor in learned.items() if id(tensor) in decayed}
    assert found == {name for name, tensor in learned.items() if RULES[method](name, tensor)}
    assert sum(len(group["params"]) for group in groups) == len(learned)


def test_an_unknown_rule_is_refused():
    with pytest.raises(UserError, match="paramwise_cfg has no 'norm_decay_mult': it takes no_decay and vectors"):
        DecayGroups(dict(optimizer=dict(type="AdamW")), dict(norm_decay_mult=0.0))
