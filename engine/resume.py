"""Exact resume: the state of a run in one atomic file, two of which are kept.

Resume precedence of `--resume`: the newest valid `state/*.pt` of the run folder; if that file is damaged, the one
before it, with a warning; if none is valid, an error; if there is none at all, a start from scratch.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from engine.errors import UserError
from engine.files import atomic_path, sha256, write_json

SCHEMA, VERSION = "densebench/state", 1


def bare(model: torch.nn.Module) -> torch.nn.Module:
    """The model without its data-parallel wrapper."""
    return model.module if is_model_wrapper(model) else model


@HOOKS.register_module()
class ResumeHook(Hook):
    """Save everything a run needs to go on, and go on from it.

    The data order and all random draws are functions of (seed, iteration), so weights, optimizer, schedules and the
    iteration number are the whole state.

    Args:
        interval: iterations between two states; the last iteration always writes one.
        resume: go on from the newest valid state of the run folder.
        config_hash: refuses a state that another configuration wrote.
    """

    priority = "VERY_LOW"  # after every hook that still changes the model in this iteration (teachers, schedules)

    def __init__(self, interval: int, resume: bool = False, config_hash: str = "") -> None:
        self.interval = interval
        self.resume = resume
        self.config_hash = config_hash
        self.wall_before = 0.0

    def before_train(self, runner: Runner) -> None:
        """Load the newest valid state, if asked to."""
        self.folder = Path(runner.work_dir) / "state"
        self.started = time.perf_counter()
        if self.resume and (state := newest_state(self.folder)) is not None:
            self.load(runner, state)

    def wall_seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self.wall_before + time.perf_counter() - self.started

    def load(self, runner: Runner, state: dict) -> None:
        """Put `state` into the runner."""
        if state["config_hash"] != self.config_hash:
            raise UserError(
                f"{runner.work_dir} was started with another configuration (hash {state['config_hash'][:12]}, now "
                f"{self.config_hash[:12]}): resume with the same arguments, or choose another --work-dir"
            )
        bare(runner.model).load_state_dict(state["model"])
        runner.optim_wrapper.load_state_dict(state["optimizer"])
        for scheduler, saved in zip(runner.param_schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self.wall_before = state["wall_s"]
        runner.train_loop.resume_at(state["iteration"])
        print(f"resuming {runner.cfg.run_name} after iteration {state['iteration']}", flush=True)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence | None = None, outputs: Mapping | None = None
    ) -> None:
        """Save at each interval and at the end."""
        done = batch_idx + 1
        if done % self.interval == 0 or done == runner.max_iters:
            self.save(runner, done)

    def save(self, runner: Runner, iteration: int) -> None:
        """Write one state atomically: the file first, then the manifest that vouches for it; then drop old ones."""
        if not is_main_process():
            return
        state = {
            "iteration": iteration,
            "config_hash": self.config_hash,
            "wall_s": self.wall_seconds(),
            "model": bare(runner.model).state_dict(),
            "optimizer": runner.optim_wrapper.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],
        }
        path = self.folder / f"{iteration:08d}.pt"
        with atomic_path(path) as temporary:
            torch.save(state, temporary)
            digest = sha256(temporary)
        write_json(path.with_suffix(".json"), {"schema": SCHEMA, "version": VERSION, "sha256": digest})
        for old in sorted(self.folder.glob("*.pt"))[:-2]:
            old.unlink()
            old.with_suffix(".json").unlink(missing_ok=True)


def newest_state(folder: Path) -> dict | None:
    """The newest state in a run's `state/` whose checksum holds, or None where no state was ever written.

    Raises:
        UserError: states of another version, or none that is whole.
    """
    files = sorted(folder.glob("*.pt"), reverse=True)
    for file in files:
        manifest = file.with_suffix(".json")
        try:
            stated = json.loads(manifest.read_text())
        except (OSError, json.JSONDecodeError):
            stated = {"schema": SCHEMA, "version": VERSION}  # no checksum: treated as damaged below
        if (stated.get("schema"), stated.get("version")) != (SCHEMA, VERSION):
            raise UserError(
                f"{manifest} is {stated.get('schema')} version {stated.get('version')}, this code reads {SCHEMA} "
                f"{VERSION}: resume it with the code that wrote it, or start again without --resume"
            )
        if stated.get("sha256") == sha256(file):
            return torch.load(file, map_location="cpu", weights_only=True)
        print(f"warning: {file} is damaged (checksum differs); trying the state before it", flush=True)
    if files:
        raise UserError(f"no state in {folder} is whole: start again without --resume")
    return None


def resume_hook(runner: Runner) -> ResumeHook:
    """The runner's ResumeHook, which also keeps its clock."""
    return next(hook for hook in runner.hooks if isinstance(hook, ResumeHook))
