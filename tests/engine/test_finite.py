"""Numbers that are not finite are never saved as good, whichever way they came."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engine.errors import UserError
from engine.files import sha256
from engine.finite import FirstFault, faults, listed
from engine.loop import AddressedLoop
from engine.optim import SteadyOptimWrapper
from engine.resume import ResumeHook, newest_state

ITERS = 6


def poison_gradients(iteration: int) -> None:
    """From now on, one gradient element of that iteration (counted from 1) is NaN; the loss is as it was."""
    step, run_iter, now = SteadyOptimWrapper.step, AddressedLoop.run_iter, [0]

    def count(loop, batches):
        now[0] = loop.iter + 1
        run_iter(loop, batches)

    def bad(wrapper, **arguments):
        if now[0] == iteration:
            wrapper.optimizer.param_groups[0]["params"][0].grad.view(-1)[0] = math.nan
        step(wrapper, **arguments)

    SteadyOptimWrapper.step, AddressedLoop.run_iter = bad, count


def states(folder):
    return {int(path.stem): torch.load(path, weights_only=True) for path in sorted((folder / "state").glob("*.pt"))}


def is_finite(state):
    """By numpy, element by element."""
    return all(np.isfinite(value.double().numpy()).all() for value in state["model"].values())


@pytest.mark.parametrize("clip", [None, {"max_norm": 1.0}])
@pytest.mark.parametrize("iteration", [4, ITERS])
def test_a_gradient_that_is_not_finite(configure, in_child, tmp_path, capfd, clip, iteration):
    folder = tmp_path / "run"
    options = {"optim_wrapper.clip_grad": clip, "state_interval": 2, "progress_interval": 2}

    def poisoned():
        from study.run import run

        poison_gradients(iteration)
        with pytest.raises(UserError, match=f"the gradient norm stopped being finite at iteration {iteration} of"):
            run(configure("pretrain/configs/mae.py", ITERS, folder, options=options), "test")

    assert in_child(poisoned) == 0, capfd.readouterr().err
    saved = states(folder)
    assert max(saved) == iteration - 2 and all(map(is_finite, saved.values()))
    assert not (folder / "checkpoint").exists()
    rows = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == list(range(2, iteration, 2))

    def healed():
        from study.run import run

        run(configure("pretrain/configs/mae.py", ITERS, folder, options=options, resume=True), "test")

    assert in_child(healed) == 0
    assert is_finite(states(folder)[ITERS]) and (folder / "checkpoint" / "checkpoint.json").is_file()


def test_weights_beyond_float32_are_no_checkpoint(configure, in_child, tmp_path, capfd):
    """One update at a rate of 1e30, with clipping: loss and gradients are finite, no later forward pass would be."""
    options = {"optim_wrapper.optimizer.lr": 1e30, "optim_wrapper.clip_grad": {"max_norm": 1.0}, "param_scheduler": []}

    def one_update():
        from study.run import run

        with pytest.raises(UserError, match="stopped being finite by iteration 1 of .* lower the learning rate"):
            run(configure("pretrain/configs/mae.py", 1, tmp_path / "run", options=options), "test")

    assert in_child(one_update) == 0, capfd.readouterr().err
    assert not list(tmp_path.glob("run/state/*.pt")) and not (tmp_path / "run" / "checkpoint").exists()


def test_a_state_that_an_older_version_saved_with_nan_gives_way(tmp_path, capsys):
    for iteration, value in ((2, 1.0), (4, math.nan)):
        path = tmp_path / f"{iteration:08d}.pt"
        torch.save({"iteration": iteration, "config_hash": "", "wall_s": 0.0, "model": {"w": torch.tensor([value])},
                    "optimizer": {"state": {}}, "schedulers": []}, path)  # fmt: skip
        about = {"schema": "densebench/state", "version": 1, "sha256": sha256(path)}
        path.with_suffix(".json").write_text(json.dumps(about))
    assert newest_state(tmp_path)["iteration"] == 2
    assert "00000004.pt is not finite (w); trying the state before it" in capsys.readouterr().out


@pytest.mark.parametrize("value, order, bad", [
    (math.nan, 2, True), (math.inf, 2, True), (-math.inf, math.inf, True), (1e18, 2, False), (1e20, 2, True),
    (1e20, math.inf, False), (0.0, 2, False),
])  # fmt: skip
def test_faults(value, order, bad):
    tensors = {"a": torch.ones(3), "b": torch.tensor([[1.0, value]]), "n": torch.tensor([7]), "e": torch.ones(0)}
    assert faults(tensors, order) == (["b"] if bad else [])


def test_the_first_fault_is_kept():
    fault = FirstFault()
    assert fault.read() == 0
    for iteration, value in enumerate((1.0, 2.0, math.inf, 1.0, math.nan), start=1):
        fault.note(iteration, [torch.tensor(1.0), 0.5, None, torch.tensor(value)])
    assert fault.read() == 3


def test_a_healthy_process_hears_of_the_fault_of_another(monkeypatch):
    """What the other process brings to the sums and minima that both are given."""
    monkeypatch.setattr("engine.finite.all_reduce", lambda mine, op: mine.fill_(min(int(mine), 4)))
    fault = FirstFault()
    fault.note(6, [torch.tensor(math.nan)])
    assert fault.read() == 4 and FirstFault().read() == 4
    runner, state = SimpleNamespace(work_dir="run"), {"model": {"w": torch.ones(2)}, "optimizer": {"state": {}}}
    ResumeHook.require_finite({**state, "iteration": 3}, runner)
    monkeypatch.setattr("engine.resume.all_reduce", lambda count: count.add_(1))
    with pytest.raises(UserError, match="a tensor of another process stopped being finite by iteration 3 of run"):
        ResumeHook.require_finite({**state, "iteration": 3}, runner)


def test_names_are_listed():
    assert listed(["a"]) == "a" and listed([*"abcde"]) == "a, b, c and 2 more"


@pytest.mark.parametrize("clip", [None, {"max_norm": 0.5}])
def test_the_gradient_norm_is_that_of_all_gradients(clip):
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3)
    wrapper = SteadyOptimWrapper(torch.optim.SGD(layer.parameters(), lr=0.0), clip_grad=clip)
    layer(torch.randn(5, 4)).square().sum().backward()
    expected = math.sqrt(sum(float(v) ** 2 for p in layer.parameters() for v in p.grad.flatten()))
    wrapper.step()
    assert float(wrapper.grad_norm) == pytest.approx(expected, rel=1e-6)
