"""The checkpoint folder: what is written comes back, what is damaged is refused, a dead writer loses nothing."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file

from backbones import load_encoder, load_into, load_text_state, read_checkpoint, save_checkpoint
from engine import files
from engine.errors import UserError

PARENT = {
    "role": "teacher", "method": "clip", "captions": "noisy", "seed": 0, "samples_seen": 640, "config_hash": "ab",
    "sha256": "0" * 64,
}  # fmt: skip


def refused(call, *words):
    with pytest.raises(UserError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 900  # readable at a glance, with a path of any usual length in it
    assert all(word in message for word in words), message


def edit(folder, change):
    meta = json.loads((folder / "checkpoint.json").read_text())
    change(meta)
    (folder / "checkpoint.json").write_text(json.dumps(files.sealed(meta)))


def test_what_is_written_comes_back_whole(write, make_meta, tiny):
    folder, stored = write()
    encoder, meta, ledger = load_encoder(folder)
    state = encoder.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in stored.state_dict().items())
    assert set(ledger.loaded) == set(state)
    assert files.sealed(meta) == json.loads((folder / "checkpoint.json").read_text())
    assert {k: v for k, v in meta.items() if k not in ("schema", "version", "sha256")} == make_meta(tiny)
    assert meta["sha256"] == {"encoder.safetensors": files.sha256(folder / "encoder.safetensors")}
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.json", "encoder.safetensors"]
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_overrides_change_the_encoder_not_the_weights(write):
    folder, stored = write()
    encoder, _, ledger = load_encoder(folder, drop_path_rate=0.3)
    assert encoder.blocks[3].drop_path1.drop_prob == pytest.approx(0.3)
    assert len(ledger.loaded) == len(stored.state_dict())


def test_text_tower_and_its_description_travel_together(tmp_path, make_meta, randomised, tiny):
    meta = make_meta(tiny) | {"text": {"kwargs": {"width": 8}, "vocabulary": ["a", "b"], "embed_dim": 4}}
    encoder = randomised(**tiny)
    text = {"logit_scale": torch.tensor(2.0), "token.weight": torch.randn(2, 8)}
    saved = save_checkpoint(tmp_path / "c", encoder, meta, text)
    assert set(saved["sha256"]) == {"encoder.safetensors", "text.safetensors"}
    state, read = load_text_state(tmp_path / "c")
    assert read["text"]["vocabulary"] == ["a", "b"]
    assert all(torch.equal(state[key], value) for key, value in text.items())
    refused(lambda: save_checkpoint(tmp_path / "d", encoder, meta), "text")
    refused(lambda: save_checkpoint(tmp_path / "d", encoder, make_meta(tiny), text), "text")
    assert not (tmp_path / "d").exists()


def test_text_of_a_method_without_text_is_refused(write):
    refused(lambda: load_text_state(write()[0]), "no text tower", "mae")


def test_parents_of_parents(tmp_path, make_meta, randomised, tiny):
    family = {**PARENT, "scale": "tiny", "wall_s": None, "parent": {**PARENT, "role": "start", "parent": None}}
    save_checkpoint(tmp_path / "c", randomised(**tiny), make_meta(tiny) | {"parent": family})
    assert read_checkpoint(tmp_path / "c")["parent"] == family


def test_weights_for_an_encoder_of_the_callers_own(write, tiny, randomised):
    folder, stored = write()
    encoder = randomised(tiny["name"], tiny["kwargs"] | {"drop_path_rate": 0.1}, seed=1)
    ledger = load_into(encoder, folder)
    assert set(ledger.loaded) == set(stored.state_dict()) and not (ledger.resized or ledger.new or ledger.dropped)
    assert all(torch.equal(value, stored.state_dict()[key]) for key, value in encoder.state_dict().items())
    refused(lambda: load_into(randomised(tiny["name"], tiny["kwargs"] | {"depth": 3}), folder), "have no place")


def test_tied_and_transposed_tensors_can_be_saved(tmp_path, make_meta, randomised, tiny):
    encoder = randomised(**tiny)
    encoder.blocks[1].mlp.fc1.weight = encoder.blocks[0].mlp.fc1.weight
    encoder.blocks[2].attn.proj.weight.data = encoder.blocks[2].attn.proj.weight.data.t()
    save_checkpoint(tmp_path / "c", encoder, make_meta(tiny))
    state = load_file(tmp_path / "c" / "encoder.safetensors")
    assert all(torch.equal(value, state[key]) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize("name", ["encoder.safetensors", "checkpoint.json"])
def test_truncated_files(write, name):
    folder, _ = write()
    path = folder / name
    path.write_bytes(path.read_bytes()[:-100])
    refused(lambda: load_encoder(folder), name, "again")


def test_one_changed_bit(write):
    folder, _ = write()
    data = bytearray((folder / "encoder.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "encoder.safetensors").write_bytes(data)
    refused(lambda: read_checkpoint(folder), "encoder.safetensors", "altered")


def test_missing_parts(write, tmp_path, tiny):
    folder, _ = write()
    (folder / "encoder.safetensors").unlink()
    refused(lambda: read_checkpoint(folder), "lacks encoder.safetensors")
    (folder / "checkpoint.json").unlink()
    refused(lambda: read_checkpoint(folder), "no checkpoint.json")
    default = tmp_path / "runs/tiny/pretrain/maskclip/seed3/checkpoint"
    command = "`python tools/train.py pretrain/configs/maskclip.py --scale tiny --seed 3`"
    refused(lambda: read_checkpoint(default), str(default), command)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(version=2), ["version 2", "reads version 1"]),
        (lambda m: m.update(schema="other"), ["not a densebench/checkpoint"]),
        (lambda m: m.pop("method"), ["method", "checkpoint_schema.json"]),
        (lambda m: m.update(surprise=1), ["surprise"]),
        (lambda m: m["image"].update(mean=[0.5]), ["$.image.mean"]),
        (lambda m: m["image"].update(std=[0.5, 10**400, 0.5]), ["$.image.std"]),
        (lambda m: m["image"].update(std=[0.5, 0.0, 0.5]), ["$.image.std"]),
        (lambda m: m.update(updates=-1), ["$.updates"]),
        (lambda m: m["sha256"].update({"../evil": "0" * 64}), ["$.sha256"]),
        (lambda m: m.update(parent={}), ["$.parent"]),
        (lambda m: m.update(parent={**PARENT, "role": "friend"}), ["$.parent"]),
        (lambda m: m.update(parent={**PARENT, "sha256": "0" * 63}), ["$.parent"]),
        (lambda m: m.update(parent={**PARENT, "parent": {}}), ["$.parent"]),
        (lambda m: m.update(parent={**PARENT, "surprise": 1}), ["$.parent"]),
    ],
)
def test_metadata_that_is_not_understood(write, change, words):
    folder, _ = write()
    edit(folder, change)
    refused(lambda: read_checkpoint(folder), *words)


def test_another_encoder(write, tiny):
    folder, _ = write()
    assert read_checkpoint(folder, encoder=tiny)["encoder"] == tiny
    other = {"name": tiny["name"], "kwargs": tiny["kwargs"] | {"depth": 6}}
    refused(lambda: read_checkpoint(folder, encoder=other), "depth=4", "depth=6")
    edit(folder, lambda meta: meta["encoder"]["kwargs"].update(depth=6))
    refused(lambda: load_encoder(folder), "missing", "blocks.4.")
    edit(folder, lambda meta: meta.update(encoder={"name": "resnet18", "kwargs": {}}))
    refused(lambda: load_encoder(folder), "ResNet", "54 keys have no place")


def test_bad_input_is_not_written(tmp_path, make_meta, randomised, tiny):
    encoder = randomised(**tiny)
    wrong_meta = {key: value for key, value in make_meta(tiny).items() if key != "seed"}
    refused(lambda: save_checkpoint(tmp_path / "c", encoder, wrong_meta), "seed")
    wrong_encoder = make_meta({"name": "resnet18", "kwargs": {}})
    refused(lambda: save_checkpoint(tmp_path / "c", encoder, wrong_encoder), "do not fit ResNet")
    wrapped = torch.nn.Sequential(encoder)
    refused(lambda: save_checkpoint(tmp_path / "c", wrapped, make_meta(tiny)), "0.cls_token")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("how", ["raise", "kill"])
def test_a_writer_that_dies_leaves_a_valid_folder(write, monkeypatch, at, how, make_meta, randomised, tiny):
    """Replacing takes two renames (old aside, new in place); die before each of them."""
    folder, old = write(seed=0)
    new = randomised(**tiny, seed=1)
    real, calls = os.replace, []

    def replace(*arguments):
        calls.append(arguments)
        if len(calls) == at:
            if how == "kill":
                os._exit(9)
            raise OSError("no space left")
        real(*arguments)

    def rewrite():
        monkeypatch.setattr(os, "replace", replace)
        save_checkpoint(folder, new, make_meta(tiny))

    if how == "raise":
        with pytest.raises(OSError, match="no space"):
            rewrite()
        monkeypatch.setattr(os, "replace", real)
    else:
        child = os.fork()
        if child == 0:
            rewrite()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert torch.equal(load_encoder(folder)[0].pos_embed, old.pos_embed)
    save_checkpoint(folder, new, make_meta(tiny))
    assert torch.equal(load_encoder(folder)[0].pos_embed, new.pos_embed)
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_a_first_write_that_dies_leaves_nothing_that_reads_as_a_checkpoint(
    tmp_path, monkeypatch, make_meta, randomised, tiny
):
    def fail(*_):
        raise OSError("disk")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk"):
        save_checkpoint(tmp_path / "c", randomised(**tiny), make_meta(tiny))
    monkeypatch.undo()
    refused(lambda: read_checkpoint(tmp_path / "c"), "does not exist")


@pytest.mark.parametrize(("given", "command"), [
    ("timm:resnet18.a1_in1k", "timm:resnet18.a1_in1k"), ("timm/resnet18.a1_in1k", "timm:resnet18.a1_in1k"),
    ("resnet18.a1_in1k", "timm:resnet18.a1_in1k"), ("hf-hub:facebook/dinov2-small", "hf:facebook/dinov2-small"),
])  # fmt: skip
def test_names_of_published_weights_are_sent_to_the_converter(given, command):
    with pytest.raises(UserError, match=f"tools/convert.py {command} FOLDER"):
        load_encoder(given)
