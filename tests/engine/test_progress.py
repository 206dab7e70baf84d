"""What a person and the files see of a run; a loss that is not finite; no waiting for the device in between."""

import json
import re
from types import SimpleNamespace

import pytest
import torch

from engine.errors import UserError
from engine.progress import ProgressHook, duration


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0:00"), (0.4, "0:00"), (9.6, "0:10"), (59.6, "1:00"), (61, "1:01"), (3599.4, "59:59"), (3599.6, "1:00:00"),
     (36061, "10:01:01")],
)  # fmt: skip
def test_duration(seconds, text):
    assert duration(seconds) == text


def runner_at(folder, iteration=0, max_iters=10, norm=None):
    groups = [{"lr": 0.001}, {"lr": 0.004}]
    optimizer = SimpleNamespace(grad_norm=norm, optimizer=SimpleNamespace(param_groups=groups))
    return SimpleNamespace(work_dir=str(folder), iter=iteration, max_iters=max_iters, optim_wrapper=optimizer,
                           cfg=SimpleNamespace(run_name="upernet mae seed 0"))  # fmt: skip


def drive(hook, runner, losses, start=0):
    hook.before_train_epoch(runner)
    for k, loss in enumerate(losses, start=start):
        outputs = loss if isinstance(loss, dict) else {"loss": torch.as_tensor(loss)}
        hook.after_train_iter(runner, k, outputs=outputs)


def rows(folder):
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def test_rows_hold_the_mean_of_their_interval(tmp_path, capsys):
    runner = runner_at(tmp_path, norm=torch.tensor(2.5))
    drive(ProgressHook(4), runner, [{"loss": torch.tensor(float(k)), "acc": k * 10.0} for k in range(10)])
    expected = [(4, 1.5, 15.0), (8, 5.5, 55.0), (10, 8.5, 85.0)]  # the last interval is short
    assert [(r["iteration"], r["loss"], r["acc"]) for r in rows(tmp_path)] == expected
    assert all(r["lr"] == 0.004 and r["grad_norm"] == 2.5 for r in rows(tmp_path))
    state = json.loads((tmp_path / "progress.json").read_text())
    assert (state["iteration"], state["max_iters"], state["loss"]) == (10, 10, 8.5) and state["eta_s"] == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and "\x1b" not in "".join(said), "a log gets plain lines"
    values = r"loss 1\.5000  acc 15\.0000  grad_norm 2\.5000"
    assert re.fullmatch(rf"upernet mae seed 0  4/10  {values}  \d+\.\d{{3}} s/it  ETA \d+:\d\d", said[0])


def test_eta_is_pace_times_what_is_left(tmp_path, monkeypatch):
    """After a resume, only the iterations of this process count."""
    now = iter([100.0, 108.0])
    monkeypatch.setattr("engine.progress.time.perf_counter", lambda: next(now))
    runner = runner_at(tmp_path, iteration=40, max_iters=100)
    (tmp_path / "curve.jsonl").write_text("")
    drive(ProgressHook(4), runner, [1.0] * 4, start=40)  # 4 iterations in 8 s: 2 s each, 56 left
    assert json.loads((tmp_path / "progress.json").read_text())["eta_s"] == 112


def test_a_resumed_run_rewrites_the_rows_after_its_state(tmp_path):
    drive(ProgressHook(2), runner_at(tmp_path), [1.0] * 6)
    kept = (tmp_path / "curve.jsonl").read_text().splitlines()[:2]
    with open(tmp_path / "curve.jsonl", "a") as handle:
        handle.write('{"iteration": 8, "lo')  # cut by the interruption
    drive(ProgressHook(2), runner_at(tmp_path, iteration=4), [7.0] * 2, start=4)
    lines = (tmp_path / "curve.jsonl").read_text().splitlines()
    assert lines[:2] == kept and len(lines) == 3 and json.loads(lines[2])["loss"] == 7.0


def test_a_fresh_run_forgets_an_older_curve(tmp_path):
    drive(ProgressHook(2), runner_at(tmp_path), [1.0] * 6)
    drive(ProgressHook(2), runner_at(tmp_path), [2.0] * 2)
    assert [r["loss"] for r in rows(tmp_path)] == [2.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, bad):
    with pytest.raises(UserError) as error:
        drive(ProgressHook(4), runner_at(tmp_path), [1.0] * 5 + [{"loss": torch.tensor(1.0)}, bad, 1.0])
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(f"loss stopped being finite at iteration 7 of {tmp_path}: lower the learning")
    assert "optim_wrapper.optimizer.lr" in said and "the last saved state is intact" in said
    assert [r["iteration"] for r in rows(tmp_path)] == [4], "no row holds what is not a number"


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    runner = runner_at(tmp_path, norm=torch.tensor(3.0))
    hook = ProgressHook(4)
    drive(hook, runner, [1.0])
    runner.optim_wrapper.grad_norm = torch.tensor(float("nan"))
    hook.after_train_iter(runner, 1, outputs={"loss": torch.tensor(1.0)})
    runner.optim_wrapper.grad_norm = torch.tensor(3.0)  # a later norm that is finite again does not heal the weights
    hook.after_train_iter(runner, 2, outputs={"loss": torch.tensor(1.0)})
    with pytest.raises(UserError, match="the gradient norm stopped being finite at iteration 2 of"):
        hook.state(runner, 3)
    with pytest.raises(UserError, match="the gradient norm stopped being finite at iteration 2 of"):
        hook.after_train_iter(runner, 3, outputs={"loss": torch.tensor(1.0)})


def test_losses_are_checked_before_any_state_is_written():
    from engine.resume import ResumeHook

    assert ProgressHook.priority == "ABOVE_NORMAL" and ResumeHook.priority == "VERY_LOW"


class Watched(torch.Tensor):
    """A tensor that counts every look at its value, as a device would make the host wait for it."""

    looks: list[str] = []

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in ("item", "tolist", "cpu", "to", "numpy", "__float__", "__bool__", "__int__", "__format__"):
            cls.looks.append(name)
        return super().__torch_function__(function, types, args, kwargs or {})


def test_nothing_waits_for_the_device_between_two_reports(tmp_path):
    hook = ProgressHook(5)
    runner = runner_at(tmp_path, max_iters=100)
    Watched.looks = []
    value = torch.tensor(2.0).as_subclass(Watched)
    assert float(value) == 2.0 and Watched.looks, "the watch works"
    looks = []
    hook.before_train_epoch(runner)
    for k in range(10):
        Watched.looks = []
        hook.after_train_iter(runner, k, outputs={"loss": value, "loss_aux": value})
        looks.append(len(Watched.looks))
    assert [k for k, count in enumerate(looks) if count] == [4, 9], f"looks an iteration: {looks}"
    assert [r["loss"] for r in rows(tmp_path)] == [2.0, 2.0]


def test_sums_keep_no_graph(tmp_path):
    hook, runner = ProgressHook(5), runner_at(tmp_path)
    hook.before_train_epoch(runner)
    hook.after_train_iter(runner, 0, outputs={"loss": torch.ones((), requires_grad=True) * 2})
    assert not hook.sums["loss"].requires_grad


@pytest.mark.parametrize(
    "damage, kept, said",
    [
        (lambda text: text, 3, False),
        (lambda text: text[:-9], 2, True),  # cut in the last row
        (lambda text: text.replace(b": 4", b": \xff", 1), 1, True),  # no UTF-8 in the second
        (lambda text: text.replace(b'"iteration": 4', b'"iteration": 9'), 1, True),
        (lambda text: text.replace(b"1.0", b"7.0", 1), 3, True),  # a number that looks right
        (lambda text: b"[]\n" + text, 0, True),
        (lambda text: text + b'{"iteration": 8, "lo', 3, False),  # what a killed writer leaves after the state
        (lambda text: None, 0, True),
    ],
)  # fmt: skip
def test_a_damaged_curve_is_kept_to_its_last_whole_row(tmp_path, capsys, damage, kept, said):
    hook, runner = ProgressHook(2), runner_at(tmp_path)
    drive(hook, runner, [1.0] * 6)
    state = hook.state(runner, 6)
    curve = tmp_path / "curve.jsonl"
    before = curve.read_bytes()
    if (after := damage(before)) is None:
        curve.unlink()
    else:
        curve.write_bytes(after)
    capsys.readouterr()
    again = ProgressHook(2)
    again.resume(state)
    again.before_train_epoch(runner_at(tmp_path, iteration=6))
    assert len(curve.read_bytes().splitlines()) == kept
    assert ("is not as it was when the state of iteration 6 was written" in capsys.readouterr().out) == said


def test_sums_go_on_where_a_state_left_them(tmp_path):
    losses = [0.1, 0.7, 0.3, 1.9, 2.3]
    drive(ProgressHook(5), runner_at(tmp_path), losses)
    straight = rows(tmp_path)
    hook, runner = ProgressHook(5), runner_at(tmp_path)
    drive(hook, runner, losses[:3])
    again = ProgressHook(5)
    again.resume(hook.state(runner, 3))
    drive(again, runner_at(tmp_path, iteration=3), losses[3:], start=3)
    assert rows(tmp_path) == straight
