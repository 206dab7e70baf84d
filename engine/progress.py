"""Progress one can watch, the training curve on disk, and the guard that stops a run whose loss is not finite."""

import json
import sys
import time
from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from engine.errors import UserError
from engine.files import write_json


def duration(seconds: float) -> str:
    """Write seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"


@HOOKS.register_module()
class ProgressHook(Hook):
    """Print one line and append one row to `curve.jsonl` every `interval` iterations.

    The losses are summed on the device and read once an interval, so training never waits for the host in between. A
    sum that is not finite stops the run there, before any state that holds it is written.

    Args:
        interval: iterations between two lines.
    """

    priority = "ABOVE_NORMAL"  # before the hooks that write state, so that they never write a broken one

    def __init__(self, interval: int = 20) -> None:
        self.interval = interval
        self.sums: dict[str, torch.Tensor | float] = {}
        self.count = 0

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the clock (a state is loaded by now); on resume, forget the rows that will be written again."""
        self.started = self.since = time.perf_counter()
        self.first = runner.iter
        self.curve = f"{runner.work_dir}/curve.jsonl"
        if is_main_process():
            rows = []
            if runner.iter:
                with open(self.curve) as handle:  # a row without its end was cut by the interruption
                    rows = [row for row in handle if row.endswith("\n") and json.loads(row)["iteration"] <= runner.iter]
            with open(self.curve, "w") as handle:
                handle.writelines(rows)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence | None = None, outputs: Mapping | None = None
    ) -> None:
        """Add this iteration's losses; report at the end of an interval."""
        for name, value in outputs.items():
            self.sums[name] = self.sums.get(name, 0) + (value.detach() if isinstance(value, torch.Tensor) else value)
        self.count += 1
        done = batch_idx + 1
        if done % self.interval == 0 or done == runner.max_iters:
            self.report(runner, done)

    def report(self, runner: Runner, done: int) -> None:
        """Read the sums, check them, print and store them."""
        means = {name: float(value) / self.count for name, value in self.sums.items()}
        norm = getattr(runner.optim_wrapper, "grad_norm", None)
        if norm is not None:
            means["grad_norm"] = float(norm)
        bad = [name for name, value in means.items() if not -float("inf") < value < float("inf")]
        if bad:
            raise UserError(
                f"{', '.join(bad)} stopped being finite between iterations {done - self.count + 1} and {done} of "
                f"{runner.work_dir}: lower the learning rate (--cfg-options optim_wrapper.optimizer.lr=...) or clip "
                "gradients harder; the last saved state is intact"
            )
        now = time.perf_counter()
        pace = (now - self.since) / self.count
        eta = (now - self.started) / (done - self.first) * (runner.max_iters - done)
        self.sums, self.count, self.since = {}, 0, now
        if not is_main_process():
            return
        learning_rate = max(group["lr"] for group in runner.optim_wrapper.optimizer.param_groups)
        row = {"iteration": done, **{k: round(v, 6) for k, v in means.items()}, "lr": learning_rate}
        with open(self.curve, "a") as handle:
            handle.write(json.dumps(row) + "\n")
        write_json(
            f"{runner.work_dir}/progress.json",
            {"iteration": done, "max_iters": runner.max_iters, "loss": means["loss"], "eta_s": round(eta, 1)},
        )
        text = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        line = f"{runner.cfg.run_name}  {done}/{runner.max_iters}  {text}  {pace:.3f} s/it  ETA {duration(eta)}"
        # On a terminal the line is redrawn in place; in a log each report is a line of its own.
        end = "\n" if not sys.stdout.isatty() or done == runner.max_iters else "\r"
        print(f"\x1b[2K{line}" if sys.stdout.isatty() else line, end=end, flush=True)
