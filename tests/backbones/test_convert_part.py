"""Files of which the encoder is a part that its user names: MoCo's, SwAV's and I-JEPA's layouts."""

import re

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
    refused(path, "stand below module.encoder_k. and module.encoder_q. here", "prefix=module.encoder_k.,")
    refused(path, "resnet18 has no place for fc.0.weight", "drop=PATTERN", prefix="module.encoder_q.")
    with pytest.raises(UserError, match="prefix takes a part of the file, which does not tell whose layout it is"):
        convert_source(path, prefix="module.encoder_q.")
    for prefix in ("module.encoder_q.", "encoder_q"):
        found = convert_to(path, nets[0], set(keys) | set(rest), prefix=prefix, drop="fc.*")
        assert found.renamed["conv1.weight"] == "module.encoder_q.conv1.weight"
    convert_to(path, nets[1], set(query) | set(rest), prefix="encoder_k.", drop=["fc.*"])
    refused(path, "no key begins with prefix=student.", "encoder_k., encoder_q., queue", prefix="student.")
    refused(path, "drop=head.* fits no key", prefix="encoder_q.", drop="head.*")
    refused(path, "prefix is a word of keys", prefix=[5])
    refused(path, "drop is a word of keys", drop=5)


def test_parts_of_a_pretraining_beside_the_encoder(tmp_path, nets):
    """SwAV: one prefix before all, and two heads."""
    heads = {"module.projection_head.0.weight": EXTRA, "module.prototypes.weight": EXTRA}
    path = saved(tmp_path, below("module.", nets[0]) | heads)
    refused(path, "no place for projection_head.0.weight, prototypes.weight")
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


def test_a_copy_below_a_prefix_is_not_taken_for_the_model(tmp_path, nets):
    copy = below("ema.", nets[1])
    path = saved(tmp_path, nets[0].state_dict() | copy)
    refused(path, "no place for ema.", "drop=PATTERN")
    convert_to(path, nets[0], set(copy), drop="ema.*")
    convert_to(path, nets[1], set(nets[0].state_dict()), prefix="ema.")
    content = {"model": nets[0].state_dict(), "ema": nets[1].state_dict(), "optimizer": {"state": {}}}
    found = convert_source(saved(tmp_path, content), "timm", **MODEL)
    assert found.dropped == {"ema.*": "model beside it is used"}


def test_a_prefix_below_one_that_was_given(tmp_path, nets):
    """The sentence names the whole of it, with what came off before, so that it can be given as it stands."""
    rest = {"teacher.model.head.weight": EXTRA, "queue": EXTRA}
    path = saved(tmp_path, below("teacher.model.trunk.", nets[0]) | rest)
    for given in ({}, {"prefix": "teacher."}, {"prefix": "teacher.model"}):
        refused(path, "stand below teacher.model.trunk. here", "--options prefix=teacher.model.trunk.,", **given)
    convert_to(path, nets[0], set(rest), prefix="teacher.model.trunk.")


def test_numbers_of_a_sequence(tmp_path, nets):
    """`prefix=0.` comes from a command line as a number."""
    path = saved(tmp_path, below("0.", nets[0]) | {"1.weight": EXTRA})
    refused(path, "stand below 0. here")
    for prefix in ("0.", 0.0, 0):
        convert_to(path, nets[0], {"1.weight"}, prefix=prefix)


def test_two_weights_of_one_name(tmp_path):
    with pytest.raises(UserError, match=r"two weights are called a\.b\.x"):
        convert_source(saved(tmp_path, {"a": {"b.x": EXTRA}, "a.b": {"x": EXTRA + 1}}))


def test_fcmae_has_no_last_norm(tmp_path, randomised):
    """As published: authors' names, no norm behind the last stage, no classifier (ConvNeXt-V2, issues 47 and 65)."""
    kwargs = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32)}
    model = randomised("convnextv2_atto", kwargs).eval()
    torch.nn.init.ones_(model.head.norm.weight), torch.nn.init.zeros_(model.head.norm.bias)
    state = {}
    for key, value in model.state_dict().items():
        key = re.sub(
            r"stages\.(\d+)\.downsample", r"downsample_layers.\1", key.replace("stem.", "downsample_layers.0.")
        )
        key = key.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        key = key.replace("mlp.grn.weight", "grn.gamma").replace("mlp.grn.bias", "grn.beta")
        state[key] = value.reshape(1, 1, 1, -1) if "grn" in key else value
    state = {key: value for key, value in state.items() if not key.startswith("head.")}
    options = {"model": "convnextv2_atto.fcmae", "kwargs": kwargs}
    converted = convert_to(saved(tmp_path, {"model": state}), model, set(), options)
    assert set(converted.new) == {"head.norm.weight", "head.norm.bias"}
    refused(tmp_path / "file.pth", "head.norm.weight", options=options | {"model": "convnextv2_atto.fcmae_ft_in1k"})
    refused(saved(tmp_path, state | {"norm.weight": torch.ones(32)}), "head.norm.bias", options=options)
    path = saved(tmp_path, state | {"proj.weight": EXTRA})
    refused(path, "drop=PATTERN", options=options)
    convert_to(path, model, {"proj.weight"}, options, drop="proj.*")
