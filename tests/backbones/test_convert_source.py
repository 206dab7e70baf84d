"""Containers of foreign files, and the accounting that no format can skip."""

import argparse
import collections
import json
import pathlib

import pytest
import timm
import torch
from safetensors.torch import save_file

from backbones.convert import PLUS, Converted, check, convert_source, formats
from backbones.convert.source import read_source, read_with_notes
from engine.errors import UserError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(4)}


def refused(call, *words):
    with pytest.raises(UserError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message and len(message) < 500
    assert all(word in message for word in words), message


def equal(found, expected):
    return set(found) == set(expected) and all(torch.equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"model": STATE},
        {"state_dict": collections.OrderedDict(STATE), "args": argparse.Namespace(lr=1.0)},
        {"teacher": STATE, "optimizer": {"state": {0: {"exp_avg": STATE["b"]}}, "param_groups": []}, "epoch": 3},
    ],
)
@pytest.mark.parametrize("legacy", [True, False])
def test_wrappers_come_off(tmp_path, content, legacy):
    torch.save(content, tmp_path / "w.pth.tar", _use_new_zipfile_serialization=not legacy)
    assert equal(read_source(tmp_path / "w.pth.tar"), STATE)


def test_student_and_teacher_stay_apart(tmp_path):
    torch.save({"student": STATE, "teacher": STATE, "epoch": 3}, tmp_path / "w.pth")
    assert set(read_source(tmp_path / "w.pth")) == {f"{who}.{key}" for who in ("student", "teacher") for key in STATE}


def test_safetensors_and_torchscript(tmp_path):
    save_file(STATE, tmp_path / "w.safetensors")
    assert equal(read_source(tmp_path / "w.safetensors"), STATE)
    module = torch.nn.Linear(3, 2)
    torch.jit.script(module).save(tmp_path / "w.pt")
    assert equal(read_source(tmp_path / "w.pt"), module.state_dict())


@pytest.mark.parametrize("name", ["w.pth", "legacy.pth", "w.safetensors", "script.pt"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_one_sentence(tmp_path, name, keep):
    path = tmp_path / name
    if name == "script.pt":
        torch.jit.script(torch.nn.Linear(3, 2)).save(path)
    elif name == "w.safetensors":
        save_file(STATE, path)
    else:
        torch.save({"model": STATE}, path, _use_new_zipfile_serialization=name == "w.pth")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    refused(lambda: read_source(path), str(path), "truncated")


def test_other_contents_are_one_sentence(tmp_path):
    path = tmp_path / "w.pth"
    refused(lambda: read_source(path), str(path), "no file")
    path.write_text("<html>404</html>")
    refused(lambda: read_source(path), "download it again")
    for content, word in (
        ([STATE["b"]], "no state dict"),
        ({}, "no state dict"),
        ({"model": {"a": STATE["b"], "lr": 0.1}}, "lr"),
        ({"model": STATE, "where": pathlib.PurePosixPath("x")}, "pathlib.PurePosixPath"),
    ):
        torch.save(content, path)
        refused(lambda: read_source(path), word)


def converted(**changes):
    state = {"patch_embed.proj.weight": torch.zeros(1)}
    fields = {"encoder": {"name": "vit_tiny_patch16_224", "kwargs": {}}, "state": state, "image": {}, "method": "mae",
              "renamed": {"patch_embed.proj.weight": f"p{PLUS}q"}}  # fmt: skip
    return Converted(**{**fields, **changes})


def test_accounting_names_what_no_rule_covers():
    source = {"p": torch.zeros(1), "q": torch.zeros(1), "r": torch.zeros(1)}
    refused(lambda: check(converted(), source, "file"), "file", "no rule", "r")
    lost = converted(dropped={"r": "why"}, new={"norm.bias": "zero"})
    refused(lambda: check(lost, source, "file"), "norm.bias")
    unfilled = converted(dropped={"r": "why"})
    refused(lambda: check(unfilled, source, "file"), "missing", "patch_embed.proj.weight")


def test_ledger_of_a_conversion():
    renamed = {"a": "a", "b.bias": f"q{PLUS}v", "t.0": "shared", "t.1": "shared"}
    ledger = converted(renamed=renamed, dropped={"m": "mask"}, new={"k": "zero"}).ledger()
    assert ledger.loaded == ("a",)
    assert ledger.renamed == {f"q{PLUS}v": "b.bias", "shared": "t.0, t.1"}
    assert (ledger.dropped, ledger.new) == ({"m": "mask"}, {"k": "zero"})
    assert json.loads(json.dumps(ledger.document()))["schema"] == "densebench/ledger"


def test_formats_are_found_by_listing():
    found = formats()
    assert {"mae", "deit", "maws", "dino", "moco_v3", "slip", "timm"} <= set(found)
    assert not {"source", "vit", "export"} & set(found)


def test_a_flipped_bit_of_the_weights_is_found(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.arange(4096.0)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(4096.0).numpy().tobytes()) + 4097] ^= 16
    path.write_bytes(data)
    assert torch.load(path, weights_only=True)  # which torch does not find
    refused(lambda: read_source(path), "checksum", "download it again")


def test_numbers_that_are_none_are_refused(tmp_path):
    state = {key: value.clone() for key, value in timm.create_model("resnet18", num_classes=0).state_dict().items()}
    options = {"model": "resnet18", "mean": [0.5] * 3, "std": [0.5] * 3}
    state["layer1.0.conv1.weight"][3, 1, 0, 0] = float("nan")
    torch.save(state, tmp_path / "w.pth")
    refused(lambda: convert_source(tmp_path / "w.pth", "timm", **options), "layer1.0.conv1.weight", "not finite")
    zeros = torch.zeros(64, 64, 3, 3)
    others = {"sparse": zeros.to_sparse(), "quantised": torch.quantize_per_tensor(zeros, 0.1, 0, torch.qint8)}
    for word, other in others.items():
        torch.save({**state, "layer1.0.conv1.weight": other}, tmp_path / "w.pth")
        refused(lambda: convert_source(tmp_path / "w.pth", "timm", **options), "layer1.0.conv1.weight", word)
    state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 3, 3).to(torch.float8_e4m3fn)
    save_file(state, tmp_path / "w.safetensors")
    refused(lambda: convert_source(tmp_path / "w.safetensors", "timm", **options), "float8", "scales")


def test_the_running_mean_comes_first(tmp_path):
    mean = {key: value + 1 for key, value in STATE.items()}
    torch.save({"model": STATE, "model_ema": mean, "epoch": 3}, tmp_path / "w.pth")
    tensors, notes = read_with_notes(tmp_path / "w.pth")
    assert equal(tensors, mean) and set(notes) == {"model.*"} and "model_ema" in notes["model.*"]
