"""Whatever is wrong with the input of tools/train.py: one clear line, exit status 2, and nothing touched."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.files import sealed

ROOT = Path(__file__).resolve().parents[2]
SEG = "seg_configs/upernet_mae.py"
NORM = "blocks.0.norm1.weight"
FEW = ("--cfg-options", "train_cfg.max_iters=4", "train_dataloader.batch_size=8")


@pytest.fixture
def fine_tune(command, overlay, tmp_path):
    """Run a config on the small export from a checkpoint."""

    def call(folder, config=SEG, *arguments, **data):
        return command("train", config, "--checkpoint", folder, "--data", overlay(config, **data),
                       "--work-dir", tmp_path / "run", *arguments)  # fmt: skip

    return call


def test_the_command_as_a_shell_runs_it():
    """No shared imports, no fork: the words of the README."""
    words = [sys.executable, "tools/train.py", "seg_configs/upernet_nomethod.py"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert "there is no config seg_configs/upernet_nomethod.py; did you mean" in lines[0]


def test_a_good_run_ends_with_a_record(fine_tune, checkpoint, tmp_path):
    """The cases below are refused for their fault alone: without it, the same words work."""
    ended = fine_tune(checkpoint(), SEG, *FEW)
    assert ended.code == 0, ended.err
    record = json.loads((tmp_path / "run/result.json").read_text())
    assert record["method"] == "mae" and record["settings"]["iterations"] == 4
    assert record["dataset"] == "small-scenes" and record["command"].startswith(f"python tools/train.py {SEG}")
    last = ended.out.splitlines()
    assert last[-1] == f"record: {tmp_path}/run/result.json" and last[-2].startswith("mIoU ")


def test_renamed_key(fine_tune, checkpoint, tamper):
    folder = checkpoint()
    with tamper(folder) as state:
        state["blocks.0.normA.weight"] = state.pop(NORM)
    said = fine_tune(folder).refusal()
    assert "blocks.0.normA.weight float32 96" in said and "1 are missing (blocks.0.norm1.weight" in said
    assert f"renamed? (blocks.0.normA.weight -> {NORM})" in said and str(folder) in said
    assert "use the encoder that these weights were made with" in said


def test_missing_key(fine_tune, checkpoint, tamper):
    folder = checkpoint()
    with tamper(folder) as state:
        del state[NORM]
    said = fine_tune(folder).refusal()
    assert f"1 are missing ({NORM} float32 96)" in said and str(folder) in said and "have no place" not in said


def test_extra_key(fine_tune, checkpoint, tamper):
    folder = checkpoint()
    with tamper(folder) as state:
        state["head.weight"] = torch.zeros(10, 96)
    said = fine_tune(folder).refusal()
    assert "1 keys have no place (head.weight float32 10x96)" in said and str(folder) in said


def test_reshaped_key(fine_tune, checkpoint, tamper):
    folder = checkpoint()
    with tamper(folder) as state:
        state[NORM] = torch.ones(48)
    said = fine_tune(folder).refusal()
    assert f"{NORM} is float32 48 in the file but float32 96 in the model" in said and str(folder) in said


@pytest.mark.parametrize(
    "config", ["det_configs/mask_rcnn_mae.py", "depth/configs/mae.py", "seg_configs/semantic_fpn_mae.py"]
)
def test_every_task_is_as_strict(fine_tune, checkpoint, tamper, config):
    folder = checkpoint()
    with tamper(folder) as state:
        state["blocks.0.normA.weight"] = state.pop(NORM)
    assert "blocks.0.normA.weight" in fine_tune(folder, config).refusal()


@pytest.mark.parametrize("kept", [0, 7, 1000, -1])
def test_truncated_weights(fine_tune, checkpoint, kept):
    folder = checkpoint()
    weights = folder / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    said = fine_tune(folder).refusal()
    assert f"{weights} is truncated or altered" in said and "copy or make it again" in said


def test_truncated_description(fine_tune, checkpoint):
    folder = checkpoint()
    text = (folder / "checkpoint.json").read_text()
    (folder / "checkpoint.json").write_text(text[: len(text) // 2])
    said = fine_tune(folder).refusal()
    assert f"{folder}/checkpoint.json is damaged" in said and "copy or make the checkpoint again" in said


@pytest.mark.parametrize("name", ["encoder.safetensors", "checkpoint.json"])
def test_a_file_of_the_checkpoint_is_gone(fine_tune, checkpoint, name):
    folder = checkpoint()
    (folder / name).unlink()
    said = fine_tune(folder).refusal()
    assert str(folder) in said and name in said


def test_weights_of_another_encoder(fine_tune, checkpoint):
    """A checkpoint whose description names another width than its weights have."""
    folder = checkpoint()
    meta = json.loads((folder / "checkpoint.json").read_text())
    meta["encoder"]["kwargs"]["embed_dim"] = 48
    (folder / "checkpoint.json").write_text(json.dumps(sealed(meta)))
    said = fine_tune(folder).refusal()
    assert "have another shape or type" in said and "float32 96 in the file but float32 48 in the model" in said
    assert "use the encoder that these weights were made with" in said


def test_encoder_of_another_kind_than_the_config_states(fine_tune, checkpoint):
    """The depth config asks for a plain encoder's single map by name of its adapter."""
    folder = checkpoint(encoder={"name": "resnet18", "kwargs": {}})
    said = fine_tune(folder, "depth/configs/mae.py", "--cfg-options", "model.backbone.type=ViTPyramid").refusal()
    assert "model.backbone.type is ViTPyramid" in said and f"{folder} needs HierarchicalPyramid" in said


@pytest.mark.parametrize("option", ["train_cfg.max_iters.last=3", "param_scheduler.7.end=3", "task.name=depth"])
def test_options_that_do_not_fit_the_config(command, option):
    assert f"--cfg-options does not fit {SEG}: " in command("train", SEG, "--cfg-options", option).refusal()


def test_encoder_that_timm_does_not_know(fine_tune, checkpoint):
    folder = checkpoint()
    meta = json.loads((folder / "checkpoint.json").read_text())
    meta["encoder"]["name"] = "vit_tinny_patch16_224"
    (folder / "checkpoint.json").write_text(json.dumps(sealed(meta)))
    assert "did you mean vit_tiny_patch16_224" in fine_tune(folder).refusal()


def test_image_constants_of_another_pretraining(fine_tune, checkpoint):
    mean = "model.data_preprocessor.mean=[123.675,116.28,103.53]"
    said = fine_tune(checkpoint(), SEG, "--cfg-options", mean).refusal()
    assert "the encoder was pretrained with [127.5, 102.0, 76.5]" in said and "<encoder>" in said


@pytest.mark.parametrize("config", [SEG, "det_configs/mask_rcnn_maskclip.py", "depth/configs/clip.py"])
def test_missing_pretraining(command, elsewhere, config):
    """The message names the command; nobody waits for data before it comes."""
    ended = command("train", config, "--seed", 3, "--scale", "study", cwd=elsewhere)
    method = config.removesuffix(".py").split("/")[-1].split("_")[-1]
    said = ended.refusal()
    assert f"runs/study/pretrain/{method}/seed3/checkpoint does not exist" in said
    assert f"python tools/train.py pretrain/configs/{method}.py --scale study --seed 3" in said
    assert not (elsewhere / "data").exists() and not (elsewhere / "runs").exists()


def test_a_checkpoint_of_another_method_at_the_methods_own_place(command, checkpoint, overlay, elsewhere):
    folder = Path("runs/tiny/pretrain/mae/seed0/checkpoint")
    checkpoint("clip", folder=elsewhere / folder)
    said = command("train", SEG, "--data", overlay(SEG), cwd=elsewhere).refusal()
    assert f"{folder} holds a clip encoder, but this config is for mae" in said and "--checkpoint" in said


def test_a_checkpoint_of_another_method_by_name_is_taken_and_recorded(fine_tune, checkpoint, tmp_path):
    ended = fine_tune(checkpoint("maskclip"), SEG, *FEW)
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "run/result.json").read_text())["method"] == "maskclip"


CASES = {SEG: "images/test", "depth/configs/mae.py": "images/test", "det_configs/mask_rcnn_mae.py": "annotation file"}


@pytest.mark.parametrize("config", [*CASES, "pretrain/configs/mae.py", "pretrain/configs/supervised.py"])
def test_missing_data_root(command, checkpoint, overlay, tmp_path, config):
    root = tmp_path / "nowhere"
    more = () if config.startswith("pretrain") else ("--checkpoint", checkpoint())
    said = command("train", config, "--data", overlay(config, root), "--work-dir", tmp_path / "run", *more).refusal()
    assert "small-scenes" in said and f"there is no folder {root}" in said and "check root" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("config", CASES)
def test_data_root_without_its_folders(fine_tune, checkpoint, tmp_path, config):
    (tmp_path / "bare").mkdir()
    said = fine_tune(checkpoint(), config, root=tmp_path / "bare").refusal()
    assert str(tmp_path / "bare") in said and CASES[config] in said and "data" in said


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_that_is_not_there(fine_tune, checkpoint, bad_label, tmp_path, split):
    """Also the test split is missed before training, not after it."""
    root = bad_label[0]
    shutil.rmtree(root / "seg" / split)
    ended = fine_tune(checkpoint(), SEG, *FEW, root=root)
    assert f"{root}/seg/{split}: no such folder" in ended.refusal() and "iteration" not in ended.out
    assert not list((tmp_path / "run").rglob("curve.jsonl"))


def test_empty_shards(command, overlay, tmp_path):
    (tmp_path / "bare/shards").mkdir(parents=True)
    config = "pretrain/configs/clip.py"
    data = overlay(config, tmp_path / "bare")
    said = command("train", config, "--data", data, "--work-dir", tmp_path / "run").refusal()
    assert str(tmp_path / "bare/shards") in said and "pretrain-*.tar" in said


@pytest.fixture
def bad_label(scenes_root, tmp_path):
    """A copy of the labelled splits in which one training label holds id 200."""
    root = tmp_path / "copy"
    for split in ("train", "val", "test"):
        for part in ("images", "seg"):
            shutil.copytree(scenes_root / part / split, root / part / split)
    path = sorted((root / "seg/train").glob("*.png"))[5]
    labels = np.array(Image.open(path))
    labels[-1, -1] = 200
    Image.fromarray(labels).save(path)
    return root, path


@pytest.mark.parametrize("workers", [0, 2])
def test_label_id_out_of_range(fine_tune, checkpoint, bad_label, tmp_path, workers):
    root, path = bad_label
    said = fine_tune(checkpoint(), SEG, *FEW, f"train_dataloader.num_workers={workers}", root=root).refusal()
    assert said.startswith(f"error: {path}: label id 200 is not allowed (allowed: 0..7 and ignored 255)")
    assert "data.classes" in said and "data.ignore" in said
    assert not (tmp_path / "run/result.json").exists()


@pytest.mark.parametrize(
    "config, near",
    [
        ("seg_configs/upernet_nomethod.py", "upernet_"),
        ("det_configs/mask_rcnn_nomethod.py", "mask_rcnn_"),
        ("depth/configs/maskklip.py", "maskclip.py"),
        ("pretrain/configs/maee.py", "mae.py"),
    ],
)
def test_unknown_method(command, config, near):
    said = command("train", config).refusal()
    assert f"there is no config {config}; did you mean" in said and near in said.split("did you mean")[1]


def test_unknown_pretraining_class(command, overlay, tmp_path):
    config = "pretrain/configs/mae.py"
    said = command("train", config, "--data", overlay(config), "--work-dir", tmp_path / "run",
                   "--cfg-options", "model.type=MEA").refusal()  # fmt: skip
    assert "unknown pretraining method model.type='MEA'" in said and "MAE" in said


def test_unknown_method_of_a_study(command, elsewhere):
    said = command("study", "demo", "--methods", "mae", "nomethod", cwd=elsewhere).refusal()
    assert "nomethod is neither a checkpoint folder nor a method" in said
    assert not (elsewhere / "runs").exists()


def test_unknown_scale(command):
    said = command("train", SEG, "--scale", "huge").refusal()
    assert "no scale 'huge'" in said and "study, tiny" in said


@pytest.mark.parametrize("file", ["result.json", "checkpoint/checkpoint.json"])
def test_a_finished_run_is_refused_and_left_alone(command, elsewhere, file):
    """Also with --resume, and before anything else is looked at or written."""
    config = SEG if file == "result.json" else "pretrain/configs/mae.py"
    run = elsewhere / "run"
    (run / file).parent.mkdir(parents=True)
    (run / file).write_text("precious")
    (run / "state").mkdir()
    (run / "state/00000001.pt").write_bytes(b"old")
    before = {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in run.rglob("*")}
    for more in ((), ("--resume",)):
        said = command("train", config, "--work-dir", "run", *more, cwd=elsewhere).refusal()
        assert "run already holds a finished" in said and "--work-dir" in said and "delete" in said
    assert before == {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in run.rglob("*")}
    assert not (elsewhere / "data").exists()
