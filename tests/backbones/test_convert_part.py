"""Files of which the encoder is a part that its user names: MoCo's, SwAV's and I-JEPA's layouts."""

import pytest
import torch

from backbones import build_encoder
from backbones.convert import convert_source
from engine.errors import UserError

MODEL = {"model": "resnet18.a1_in1k"}
EXTRA = torch.ones(2, 2)


@pytest.fixture
def nets(randomised):
    return [randomised("resnet18", {}, seed).eval() for seed in range(2)]


def below(prefix, module):
    return {prefix + key: value for key, value in module.state_dict().items()}


def saved(folder, content):
    torch.save(content, folder / "file.pth")
    return folder / "file.pth"


def convert_to(path, module, dropped, options=MODEL, **words):
    """The file gives the module's features, and names what it leaves out."""
    converted = convert_source(path, "timm", **options, **words)
    encoder = build_encoder(**converted.encoder).eval()
    encoder.load_state_dict(converted.state)
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(encoder.forward_features(x), module.forward_features(x))
    used = {key for text in converted.renamed.values() for key in text.split(" + ")}
    assert set(converted.dropped) == dropped and not used & dropped
    return converted


def refused(path, *words, options=MODEL, **stated):
    with pytest.raises(UserError) as error:
        convert_source(path, "timm", **options, **stated)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value), error.value


def test_one_of_two_encoders(tmp_path, nets):
    """MoCo v2: queries, keys, a projector `fc` on each, and a queue."""
    query, keys = (below(f"module.encoder_{name}.", net) for name, net in zip("qk", nets, strict=True))
    rest = {"module.encoder_q.fc.0.weight": EXTRA, "module.encoder_k.fc.0.weight": EXTRA, "module.queue": EXTRA}
    path = saved(tmp_path, {"state_dict": query | keys | rest, "epoch": 800})
    refused(path, "stand below encoder_k. and encoder_q. here", "--options prefix=")
    refused(path, "fc.0.weight have no place in resnet18", "drop=PATTERN", prefix="module.encoder_q.")
    for prefix in ("module.encoder_q.", "encoder_q."):
        found = convert_to(path, nets[0], set(keys) | set(rest), prefix=prefix, drop="fc.*")
        assert found.renamed["conv1.weight"] == "module.encoder_q.conv1.weight"
    convert_to(path, nets[1], set(query) | set(rest), prefix="encoder_k.", drop=["fc.*"])
    refused(path, "no key begins with prefix=student.", "encoder_k., encoder_q., queue.", prefix="student.")
    refused(path, "drop=head.* fits no key", prefix="encoder_q.", drop="head.*")
    refused(path, "are words of keys", prefix=5)
    refused(path, "are words of keys", drop=5)


def test_parts_of_a_pretraining_beside_the_encoder(tmp_path, nets):
    """SwAV: one prefix before all, and two heads."""
    heads = {"module.projection_head.0.weight": EXTRA, "module.prototypes.weight": EXTRA}
    path = saved(tmp_path, below("module.", nets[0]) | heads)
    refused(path, "projection_head.0.weight, prototypes.weight have no place")
    for drop in (["projection_head.*", "prototypes.*"], ["module.pro*"]):
        convert_to(path, nets[0], set(heads), drop=drop)


def test_state_dicts_side_by_side(tmp_path, randomised):
    """I-JEPA: a ViT without a class token, its running mean and a predictor, each a state dict of its own."""
    kwargs = {"depth": 2, "embed_dim": 48, "num_heads": 3, "img_size": 64, "class_token": False, "global_pool": "avg"}
    first, second = (randomised("vit_small_patch16_224", kwargs, seed).eval() for seed in range(2))
    content = {"encoder": below("module.", first), "target_encoder": below("module.", second),
               "predictor": {"module.predictor_embed.weight": EXTRA}, "opt": {"lr": 1.0}, "epoch": 3}  # fmt: skip
    path = saved(tmp_path, content)
    options = {"model": "vit_small_patch16_224", "kwargs": kwargs, "mean": [0.5] * 3, "std": [0.5] * 3}
    refused(path, "stand below encoder.module. and target_encoder.module. here", options=options)
    converted = convert_source(path, "timm", **options, prefix="target_encoder.")
    assert converted.renamed["pos_embed"] == "target_encoder.module.pos_embed"
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in converted.state.items())
    other = {f"encoder.module.{key}" for key in first.state_dict()} | {"predictor.module.predictor_embed.weight"}
    assert set(converted.dropped) == other
