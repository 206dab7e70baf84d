"""Training curves in TensorBoard or Weights & Biases, for those who watch their runs there.

A sink reads the rows that ProgressHook leaves in `curve.jsonl` and hands them to mmengine's backend of that name. It is
no part of the configuration: what a run computes, its hash and its states are the same with and without one. A resumed
run begins its curve in the sink anew, with the rows kept so far, so the sink never shows a row twice.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmengine.visualization import TensorboardVisBackend, WandbVisBackend
from mmengine.visualization.vis_backend import BaseVisBackend

from engine.errors import UserError

SINKS = ("tensorboard", "wandb")  # each is also the name of the library that it needs


def check_sink(name: str | None) -> None:
    """Raise `UserError` with the command that installs the library of the sink `name`, if it is absent."""
    if name is None:
        return
    spec = find_spec(name)
    if spec is None or spec.origin is None:  # without an origin: a folder of that name, not a library
        raise UserError(f"--sink {name} needs a library that is not here: pip install {name} (or leave out --sink)")


@HOOKS.register_module()
class SinkHook(Hook):
    """Hand every new row of the training curve to a sink.

    TensorBoard's files go to `<work_dir>/tensorboard`, those of Weights & Biases to `<work_dir>/wandb`; the latter's
    project is "densebench" unless WANDB_PROJECT names another.

    Args:
        name: one of `SINKS`.
    """

    priority = "NORMAL"  # after ProgressHook, which writes the rows

    def __init__(self, name: str) -> None:
        self.name = name
        self.backend: BaseVisBackend | None = None  # in the main process only

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the sink, and give it the rows that a resumed run has already."""
        if not is_main_process():
            return
        self.curve, self.read = Path(runner.work_dir, "curve.jsonl"), 0
        try:
            self.backend = start(self.name, runner)
        except Exception as error:  # no login, no network, no room: whatever a foreign library raises
            said = " ".join(str(error).split())[:200]
            raise UserError(f"--sink {self.name} could not start ({type(error).__name__}: {said}): mend that, or leave "
                            "out --sink") from error  # fmt: skip
        self.send()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence | None = None, outputs: Mapping | None = None
    ) -> None:
        """Hand over the rows that ProgressHook has just written, if any."""
        if self.backend is not None and self.curve.stat().st_size > self.read:
            self.send()

    def after_train(self, runner: Runner) -> None:
        """Close the sink."""
        if self.backend is not None:
            self.backend.close()

    def send(self) -> None:
        """Hand over every row from `self.read`, in bytes, to the end of the curve."""
        with open(self.curve, "rb") as handle:
            handle.seek(self.read)
            rows = handle.readlines()
            self.read = handle.tell()
        for row in map(json.loads, rows):
            if self.name == "wandb":  # its x axis is a value of the row
                self.backend.add_scalars(row)
            else:
                iteration = row.pop("iteration")
                self.backend.add_scalars(row, step=iteration)
        if self.name == "tensorboard":
            self.backend.experiment.flush()  # an interrupted run shows what it has


def start(name: str, runner: Runner) -> BaseVisBackend:
    """Return the started backend: TensorBoard's in a new folder, Weights & Biases' with a new run."""
    folder = Path(runner.work_dir)
    if name == "tensorboard":
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)  # of the same run, before it was interrupted
        backend = TensorboardVisBackend(str(folder / "tensorboard"))
    else:
        cfg = runner.cfg
        settings = {key: cfg[key] for key in ("task", "method", "scale", "seed", "config_hash")}
        run = dict(project=os.environ.get("WANDB_PROJECT", "densebench"), name=runner.work_dir, config=settings)
        axis = [dict(name="*", step_metric="iteration")]
        backend = WandbVisBackend(str(folder), init_kwargs=run, define_metric_cfg=axis)
    backend.experiment  # noqa: B018  both start at the first look
    return backend
