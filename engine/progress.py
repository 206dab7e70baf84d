"""Progress one can watch, the training curve on disk, and the guard that stops a run whose numbers are not finite."""

import hashlib
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from engine.errors import UserError
from engine.files import append_text, write_bytes, write_json
from engine.finite import FirstFault


def duration(seconds: float) -> str:
    """Write seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"


@HOOKS.register_module()
class ProgressHook(Hook):
    """Print one line and append one row to `curve.jsonl` every `interval` iterations.

    Losses are means over the processes. They are summed on the device and read once an interval, so training never
    waits for the host in between; so is the first iteration whose losses or gradients were not finite, which stops all
    processes at the next report or before the next state is written.

    Args:
        interval: iterations between two lines.
    """

    priority = "ABOVE_NORMAL"  # before the hooks that write state, so that they never write a broken one

    def __init__(self, interval: int = 20) -> None:
        self.interval = interval
        self.sums: dict[str, torch.Tensor | float] = {}
        self.count = 0
        self.fault = FirstFault()
        self.written: str | None = None  # checksum of the curve when the state that was resumed was written

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the clock (a state is loaded by now); on resume, forget the rows that will be written again."""
        self.started = self.since = time.perf_counter()
        self.first = runner.iter
        self.curve = Path(runner.work_dir, "curve.jsonl")
        if is_main_process():
            rows = kept_rows(self.curve, runner.iter, self.written) if runner.iter else []
            write_bytes(self.curve, b"".join(rows))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence | None = None, outputs: Mapping | None = None
    ) -> None:
        """Add this iteration's losses; report at the end of an interval."""
        for name, value in outputs.items():
            self.sums[name] = self.sums.get(name, 0) + (value.detach() if isinstance(value, torch.Tensor) else value)
        self.count += 1
        done = batch_idx + 1
        self.fault.note(done, [*outputs.values(), getattr(runner.optim_wrapper, "grad_norm", None)])
        if done % self.interval == 0 or done == runner.max_iters:
            self.report(runner, done)

    def means(self) -> dict[str, float]:
        """The mean of each loss since the last report, over all processes; all of them ask together."""
        if not self.sums:
            return {}
        device = next((v.device for v in self.sums.values() if isinstance(v, torch.Tensor)), None)
        sums = torch.stack([torch.as_tensor(v, dtype=torch.float64, device=device) for v in self.sums.values()])
        all_reduce(sums, op="mean")
        return {name: value / self.count for name, value in zip(self.sums, sums.tolist(), strict=True)}

    def check(self, runner: Runner, done: int) -> dict[str, float]:
        """Return `means()`.

        Raises:
            UserError: a loss or the gradients of any process were not finite at some iteration up to `done`.
        """
        means, at = self.means(), self.fault.read()
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad or at:
            raise UserError(
                f"{', '.join(bad) or 'the gradient norm'} stopped being finite at iteration {at or done} of "
                f"{runner.work_dir}: lower the learning rate (--cfg-options optim_wrapper.optimizer.lr=...) or clip "
                "gradients harder; the last saved state is intact"
            )
        return means

    def state(self, runner: Runner, done: int) -> dict[str, Any]:
        """What a state must hold for the curve to go on as if nothing had happened; raises as `check`."""
        sums = {name: value * self.count for name, value in self.check(runner, done).items()}
        digest = hashlib.sha256(self.curve.read_bytes()).hexdigest() if is_main_process() else None
        return {"sums": sums, "count": self.count, "curve_sha256": digest}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.sums, self.count, self.written = state["sums"], state["count"], state["curve_sha256"]

    def report(self, runner: Runner, done: int) -> None:
        """Read the sums, check them, print and store them."""
        means = self.check(runner, done)
        norm = getattr(runner.optim_wrapper, "grad_norm", None)
        if norm is not None:
            means["grad_norm"] = float(norm)
        now = time.perf_counter()
        pace = (now - self.since) / self.count
        eta = (now - self.started) / (done - self.first) * (runner.max_iters - done)
        self.sums, self.count, self.since = {}, 0, now
        if not is_main_process():
            return
        learning_rate = max(group["lr"] for group in runner.optim_wrapper.optimizer.param_groups)
        row = {"iteration": done, **{k: round(v, 6) for k, v in means.items()}, "lr": learning_rate}
        append_text(self.curve, json.dumps(row) + "\n")
        write_json(
            f"{runner.work_dir}/progress.json",
            {"iteration": done, "max_iters": runner.max_iters, "loss": means["loss"], "eta_s": round(eta, 1)},
        )
        text = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        line = f"{runner.cfg.run_name}  {done}/{runner.max_iters}  {text}  {pace:.3f} s/it  ETA {duration(eta)}"
        # On a terminal the line is redrawn in place; in a log each report is a line of its own.
        end = "\n" if not sys.stdout.isatty() or done == runner.max_iters else "\r"
        print(f"\x1b[2K{line}" if sys.stdout.isatty() else line, end=end, flush=True)


def progress_hook(runner: Runner) -> ProgressHook:
    """The runner's ProgressHook, which knows whether all was finite so far."""
    return next(hook for hook in runner.hooks if isinstance(hook, ProgressHook))


def kept_rows(curve: Path, iteration: int, written: str | None) -> list[bytes]:
    """The whole rows of a curve up to `iteration`, the first of them to the last before any damage.

    Args:
        curve: `curve.jsonl`.
        iteration: of the state from which the run goes on.
        written: SHA-256 of the curve when that state was written; None where the state does not say.

    Says so where rows are lost or altered.
    """
    lines = curve.read_bytes().splitlines(keepends=True) if curve.is_file() else []
    rows, last, whole = [], 0, curve.is_file()
    for line in lines:
        number = iteration_of(line)
        if number is None or number <= last:
            whole = line is lines[-1] and not line.endswith(b"\n")  # the cut row of a killed writer is no damage
            break
        if number > iteration:
            break
        rows.append(line)
        last = number
    if hashlib.sha256(b"".join(rows)).hexdigest() != written if written else not whole:
        print(
            f"warning: {curve} is not as it was when the state of iteration {iteration} was written; its whole rows, "
            f"up to iteration {last}, are kept",
            flush=True,
        )
    return rows


def iteration_of(line: bytes) -> int | None:
    """The iteration of a row of the curve; None where it is no whole row."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    number = row.get("iteration") if isinstance(row, dict) else None
    return number if type(number) is int else None
