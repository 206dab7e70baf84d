"""kill -9 and resume end in exactly the checkpoint of an uninterrupted run."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from safetensors.torch import load_file

from engine.errors import UserError
from engine.loop import AddressedLoop
from study.configure import load_config
from tests.pretrain.parents import write_parent

ITERS, INTERVAL, KILLED_AT = 6, 2, 5  # killed during iteration 5, one iteration after the last state


def kill_during(iteration: int) -> None:
    """From now on, end this process as kill -9 does, in the middle of that iteration."""
    run_iter = AddressedLoop.run_iter

    def stop(loop, data_batch):
        if loop.iter + 1 == iteration:
            os.kill(os.getpid(), signal.SIGKILL)
        run_iter(loop, data_batch)

    AddressedLoop.run_iter = stop


def train(configure, config, folder, kill=None, **arguments):
    """Run one configuration here and now."""
    from study.run import run

    options = {"state_interval": INTERVAL, "progress_interval": 1}
    cfg = configure(config, ITERS, folder, options=options, **arguments)
    if kill:
        kill_during(kill)
    run(cfg, "test")


def final(folder: Path) -> dict[str, torch.Tensor]:
    """The last state's model and optimizer tensors, and the exported files."""
    state = torch.load(sorted((folder / "state").glob("*.pt"))[-1], weights_only=True)
    tensors = dict(state["model"])
    for index, entry in state["optimizer"]["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in entry.items()}
    for file in [*folder.glob("checkpoint/*.safetensors"), *folder.glob("model.safetensors")]:
        tensors |= {f"{file.name}/{name}": value for name, value in load_file(file).items()}
    return tensors


def assert_identical(first: Path, second: Path, rows: int = ITERS) -> None:
    ours, theirs = final(first), final(second)
    assert ours.keys() == theirs.keys() and len(ours) > 10
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different, f"{len(different)} of {len(ours)} tensors differ, first {different[:3]}"
    curves = [[json.loads(line) for line in (f / "curve.jsonl").read_text().splitlines()] for f in (first, second)]
    assert curves[0] == curves[1] and len(curves[0]) == rows


def interrupted_equals_straight(configure, in_child, tmp_path, config, **arguments):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert in_child(lambda: train(configure, config, straight, **arguments)) == 0
    assert in_child(lambda: train(configure, config, broken, kill=KILLED_AT, **arguments)) == -signal.SIGKILL
    assert not list(broken.glob("checkpoint/*")) and not (broken / "result.json").exists()
    assert in_child(lambda: train(configure, config, broken, resume=True, **arguments)) == 0
    assert_identical(straight, broken)
    return straight, broken


# one config of each method: teachers, queues, centres and BatchNorm statistics are part of what must come back
@pytest.mark.parametrize("method", [
    "clip", "datacompdr", "slip", "declip", "lightclip", "lightclip_resnet18", "maskclip", "supervised", "moco_v3",
    "dino", "mae", "beit", "cae", "fd", "wsp", "oracle",
])  # fmt: skip
def test_pretraining(configure, in_child, tmp_path, method):
    arguments = {"batch_size": 4}
    if parent := load_config(f"pretrain/configs/{method}.py").get("parent"):
        arguments["checkpoint"] = str(write_parent(tmp_path / "parent", parent))
    interrupted_equals_straight(configure, in_child, tmp_path, f"pretrain/configs/{method}.py", **arguments)


def test_every_method_is_held_to_exact_resume():
    configs = {path.stem: load_config(path).model.type for path in Path("pretrain/configs").glob("*.py")}
    (listed,) = (mark.args[1] for mark in test_pretraining.pytestmark if mark.name == "parametrize")
    assert {configs[name] for name in listed} == {*configs.values()} - {"RandomInit"}


@pytest.fixture
def random_checkpoint(configure, in_child, tmp_path) -> str:
    from study.run import run

    folder = tmp_path / "random"
    assert in_child(lambda: run(configure("pretrain/configs/random.py", 0, folder), "test")) == 0
    return str(folder / "checkpoint")


def test_fine_tuning_and_identical_metrics(configure, in_child, tmp_path, random_checkpoint):
    folders = interrupted_equals_straight(
        configure, in_child, tmp_path, "seg_configs/upernet_random.py", checkpoint=random_checkpoint
    )
    records = [json.loads((folder / "result.json").read_text()) for folder in folders]
    assert records[0]["metrics"] == records[1]["metrics"]


def test_damaged_states(configure, in_child, tmp_path, random_checkpoint, capfd):
    """A damaged newest state gives way to the one before it; none left, or another configuration, is an error."""
    folder, config = tmp_path / "run", "depth/configs/random.py"
    arguments = dict(checkpoint=random_checkpoint)
    assert in_child(lambda: train(configure, config, folder, kill=KILLED_AT, **arguments)) == -signal.SIGKILL
    states = sorted((folder / "state").glob("*.pt"))
    assert [int(s.stem) for s in states] == [2, 4]
    states[-1].write_bytes(states[-1].read_bytes()[:-100])
    assert in_child(lambda: train(configure, config, folder, kill=4, resume=True, **arguments)) == -signal.SIGKILL
    said = capfd.readouterr().out
    assert f"{states[-1]} is damaged" in said and "after iteration 2" in said

    with pytest.raises(UserError, match="started with another configuration"):
        train(configure, config, folder, resume=True, **arguments, seed=1)
    for state in states:
        state.write_bytes(b"")
    with pytest.raises(UserError, match="no state in .* is whole"):
        train(configure, config, folder, resume=True, **arguments)


def test_a_run_whose_loss_is_not_finite_stops_with_its_state_intact(configure, tmp_path):
    from study.run import run

    cfg = configure("pretrain/configs/mae.py", 6, tmp_path / "run",
                    options={"state_interval": 1, "progress_interval": 1, "optim_wrapper.optimizer.lr": 1e30,
                             "optim_wrapper.clip_grad": None, "param_scheduler": []})  # fmt: skip
    with DefaultScope.overwrite_default_scope("mmdet"):  # as a run of another head may leave it
        with pytest.raises(UserError, match="stopped being finite (at|by) iteration"):
            run(cfg, "test")
        assert DefaultScope.get_current_instance().scope_name == "mmdet"
    for state in (tmp_path / "run" / "state").glob("*.pt"):
        iteration = torch.load(state, weights_only=True)["iteration"]
        assert iteration < 6
    assert not (tmp_path / "run" / "checkpoint").exists()
