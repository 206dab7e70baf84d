"""Visual tokenizers: DALL-E's layout against plain convolutions, and weights files of every kind."""

import sys
import types

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from engine.errors import UserError
from pretrain.tokenizer.dvae import Encoder, map_pixels
from pretrain.tokenizer.load import build_tokenizer


@pytest.fixture
def state():
    torch.manual_seed(0)
    return Encoder(vocabulary=12, width=4, depth=2).state_dict()


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (3, 3, 32, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def weights(state, tmp_path):
    torch.save(state, tmp_path / "encoder.pth")
    return tmp_path / "encoder.pth"


def published_ids(state, pixels):
    """The published forward pass written out, in float64."""
    state = {name: value.double() for name, value in state.items()}

    def conv(x, name):
        w = state[f"{name}.w"]
        return F.conv2d(x, w, state[f"{name}.b"], padding=w.shape[-1] // 2)

    x = (1 - 2 * 0.1) * (pixels.double() / 255) + 0.1
    x = conv(x, "blocks.input")
    for group in (1, 2, 3, 4):
        for block in (1, 2):
            name = f"blocks.group_{group}.block_{block}"
            y = x
            for k in (1, 2, 3, 4):
                y = conv(y.clamp(min=0), f"{name}.res_path.conv_{k}")
            x = (conv(x, f"{name}.id_path") if f"{name}.id_path.w" in state else x) + y / 8**2
        if group < 4:
            b, c, h, w = x.shape
            x = x.reshape(b, c, h // 2, 2, w // 2, 2).amax(dim=(3, 5))
    scores = conv(x.clamp(min=0), "blocks.output.conv")
    return [
        [
            int(np.argmax(scores[b, :, row, column]))
            for row in range(scores.shape[2])
            for column in range(scores.shape[3])
        ]
        for b in range(len(scores))
    ]


def test_ids_by_the_published_arithmetic(state, weights, pixels):
    tokenizer = build_tokenizer(dict(type="dalle", file=str(weights)))
    ids = tokenizer.ids(pixels)
    assert ids.shape == (3, 4 * 3) and ids.dtype == torch.int64
    assert ids.tolist() == published_ids(state, pixels) and len(ids.unique()) > 1
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tokenizer.ids(pixels), ids)


def test_the_published_names_and_shapes():
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Encoder().state_dict().items()}
    assert shapes["blocks.input.w"] == (256, 3, 7, 7) and shapes["blocks.output.conv.w"] == (8192, 2048, 1, 1)
    assert shapes["blocks.group_1.block_1.res_path.conv_1.w"] == (64, 256, 3, 3)
    assert shapes["blocks.group_4.block_2.res_path.conv_4.w"] == (2048, 512, 1, 1)
    with_id = [name for name in shapes if name.endswith("id_path.w")]
    assert with_id == [f"blocks.group_{k}.block_1.id_path.w" for k in (2, 3, 4)]  # only where the width changes
    assert len(shapes) == 2 * (1 + 8 * 4 + 3 + 1)


def test_mapped_pixels():
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    expected = (values.double() - -31.875) / 318.75  # the same map as mean and std of 0..255 values
    torch.testing.assert_close(map_pixels(values).double(), expected, atol=1e-6, rtol=0)


class Holder(nn.Module):
    def __init__(self, tokenizer):
        super().__init__()
        self.layer, self.tokenizer = nn.Linear(2, 2), tokenizer


def test_frozen_and_outside_the_state_but_moving_along(weights):
    model = Holder(build_tokenizer(dict(type="dalle", file=str(weights))))
    assert {*model.state_dict()} == {"layer.weight", "layer.bias"} == {name for name, _ in model.named_parameters()}
    assert not any(buffer.requires_grad for buffer in model.buffers()) and len(list(model.buffers())) == 74
    model.to("meta")
    assert all(buffer.device.type == "meta" for buffer in model.tokenizer.buffers())


def pickled_module(state, folder, monkeypatch):
    """OpenAI's way: a whole module saved, of classes that live in a package which is not installed."""
    package, encoder, utils = (types.ModuleType(name) for name in ("dall_e", "dall_e.encoder", "dall_e.utils"))

    def new(module, name):
        found = type(name, (nn.Module,), {"__module__": module.__name__})
        setattr(module, name, found)
        return found

    conv, block, whole = new(utils, "Conv2d"), new(encoder, "EncoderBlock"), new(encoder, "Encoder")

    def build(name):
        below = [key.removeprefix(name) for key in state if key.startswith(name)]
        parts = list(dict.fromkeys(key.split(".")[0] for key in below))
        if parts == ["w", "b"]:
            made = conv()
            made.w, made.b = (nn.Parameter(state[name + key], requires_grad=False) for key in "wb")
            made.device, made.use_float16 = torch.device("cpu"), True
        else:
            is_block = name.rpartition(".block_")[2].strip(".").isdigit() and ".block_" in name
            made = whole() if name == "" else block() if is_block else nn.Sequential()
            for part in parts:
                made.add_module(part, build(f"{name}{part}."))
            if is_block and "id_path" not in parts:
                made.id_path = nn.Identity()
            made.add_module("relu" if "conv" in parts else "pool", nn.ReLU() if "conv" in parts else nn.MaxPool2d(2))
        return made

    with monkeypatch.context() as patch:
        for module in (package, encoder, utils):
            patch.setitem(sys.modules, module.__name__, module)
        torch.save(build(""), folder / "encoder.pkl")
    return folder / "encoder.pkl"


def variants(state, folder, monkeypatch):
    torch.save({"state_dict": state}, folder / "wrapped.pt")
    torch.save(
        {"model": {f"encoder.{k}": v for k, v in state.items()} | {"decoder.x": torch.ones(2)}}, folder / "d.pth"
    )
    save_file(state, folder / "plain.safetensors")
    torch.save({k: v.half().float().half() for k, v in state.items()}, folder / "half.pt")
    return {name: folder / name for name in ("wrapped.pt", "d.pth", "plain.safetensors", "half.pt")} | {
        "encoder.pkl": pickled_module(state, folder, monkeypatch)
    }


def test_every_kind_of_file(state, pixels, tmp_path, monkeypatch):
    state = {name: value.half().float() for name, value in state.items()}
    expected = published_ids(state, pixels)
    for name, path in variants(state, tmp_path, monkeypatch).items():
        tokenizer = build_tokenizer(dict(type="dalle", file=str(path)))
        assert tokenizer.vocabulary == 12 and tokenizer.ids(pixels).tolist() == expected, name
    assert not any(name.startswith("dall_e") for name in sys.modules)


def test_a_pickle_that_wants_other_classes_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "other.pkl")
    with pytest.raises(UserError, match="other.pkl is a pickle of torch.nn.modules.linear.Linear, which"):
        build_tokenizer(dict(type="dalle", file=str(tmp_path / "other.pkl")))


def test_wrong_files_are_refused_in_one_line(state, weights, tmp_path):
    def refused(match, content=None, name="wrong.pth"):
        path = tmp_path / name
        if content is not None:
            torch.save(content, path)
        with pytest.raises(UserError, match=match) as caught:
            build_tokenizer(dict(type="dalle", file=str(path)))
        assert "\n" not in str(caught.value)

    refused("there is no tokenizer file .*absent.pth: fetch it", name="absent.pth")
    refused("wrong.pth holds no state dict of a dVAE encoder, but list", [1, 2])
    refused("has no blocks.input.b", {"w": torch.ones(2)})
    name = "blocks.group_2.block_1.id_path.w"
    refused(f"{name} is missing instead of \\(8, 4, 1, 1\\), 1 such", {k: v for k, v in state.items() if k != name})
    refused(f"{name} is \\(8, 4, 2, 2\\) instead", {**state, name: torch.ones(8, 4, 2, 2)})
    refused("blocks.extra is \\(2,\\) instead of absent", {**state, "blocks.extra": torch.ones(2)})
    whole = weights.read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    refused("cut.pth cannot be read as weights .* is it whole", name="cut.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    refused("cut.safetensors cannot be read as weights", name="cut.safetensors")


def test_wrong_specs_are_refused():
    for spec, match in [
        (dict(type="vqgan"), "unknown tokenizer type 'vqgan': choose 'dvae' or 'dalle'"),
        (dict(type="dvae"), "no weights: name them with model.tokenizer.file"),
    ]:
        with pytest.raises(UserError, match=match):
            build_tokenizer(spec)


def test_wrong_pixels_are_refused(weights):
    tokenizer = build_tokenizer(dict(type="dalle", file=str(weights)))
    for wrong in (torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 12, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="uint8 of a size divisible by 8"):
            tokenizer.ids(wrong)
