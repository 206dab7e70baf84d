"""Exact resume: the state of a run in one atomic file, two of which are kept.

Resume precedence of `--resume`: the newest valid `state/*.pt` of the run folder; if that one is damaged, of another
version or not finite, the one before it, with a warning; if none is valid, an error; if there is none at all, a start
from scratch.
"""

import json
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from engine.errors import UserError
from engine.files import atomic_path, sha256, write_json
from engine.finite import listed, state_faults
from engine.progress import progress_hook
from engine.stop import leave

SCHEMA, VERSION = "densebench/state", 1
FIELDS = ("iteration", "config_hash", "wall_s", "model", "optimizer", "schedulers")


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
        minutes: also write one when so many minutes have passed since the last; None: never.
        resume: go on from the newest valid state of the run folder.
        config_hash: refuses a state that another configuration wrote.
    """

    priority = "VERY_LOW"  # after every hook that still changes the model in this iteration (teachers, schedules)

    def __init__(
        self, interval: int, minutes: float | None = None, resume: bool = False, config_hash: str = ""
    ) -> None:
        self.interval = interval
        self.minutes = minutes
        self.resume = resume
        self.config_hash = config_hash
        self.wall_before = 0.0

    def before_train(self, runner: Runner) -> None:
        """Load the newest valid state, if asked to."""
        self.folder = Path(runner.work_dir) / "state"
        self.started = self.saved = time.perf_counter()
        if self.resume and (state := newest_state(self.folder)) is not None:
            self.load(runner, state)

    def wall_seconds(self) -> float:
        """Seconds of training so far, those before an interruption included."""
        return self.wall_before + time.perf_counter() - self.started

    def load(self, runner: Runner, state: dict[str, Any]) -> None:
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
        if "progress" in state:
            progress_hook(runner).resume(state["progress"])
        runner.train_loop.resume_at(state["iteration"])
        print(f"resuming {runner.cfg.run_name} after iteration {state['iteration']}", flush=True)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence | None = None, outputs: Mapping | None = None
    ) -> None:
        """Save at each interval, at the end, when time has passed, and when a signal asks to stop."""
        done = batch_idx + 1
        stop, due = self.wishes(runner, done)
        if stop:
            self.stop(runner, done, stop)
        if due or done % self.interval == 0 or done == runner.max_iters:
            self.save(runner, done)

    def wishes(self, runner: Runner, done: int) -> tuple[int, bool]:
        """Number of the signal that asks to stop, 0 for none, and whether a state is due by the clock.

        Several processes must agree, which they do at each report, so that nothing waits for them in between.
        """
        due = self.minutes is not None and time.perf_counter() - self.saved >= 60 * self.minutes
        stop = runner.train_loop.signals.wanted
        if get_world_size() > 1:
            if done % progress_hook(runner).interval:
                return 0, False
            wishes = torch.tensor([stop, int(due and is_main_process())])
            all_reduce(wishes, op="max")
            stop, due = int(wishes[0]), bool(wishes[1])
        return stop, due

    def stop(self, runner: Runner, done: int, number: int) -> NoReturn:
        """Save the state after iteration `done` and end the process as signal `number` wants it."""
        if done:
            self.save(runner, done)
        if is_main_process():
            name = signal.Signals(number).name
            kept = "its state is saved" if done else "nothing was to be saved"
            print(f"{name}: stopped after iteration {done}, {kept}; the same command with --resume goes on", flush=True)
        leave(number)

    def save(self, runner: Runner, iteration: int) -> None:
        """Write one state atomically: the file first, then the manifest that vouches for it; then drop old ones.

        Raises:
            UserError: a number in it is not finite, in any process, or the disk refuses it.
        """
        state = {
            "iteration": iteration,
            "config_hash": self.config_hash,
            "wall_s": self.wall_seconds(),
            "model": bare(runner.model).state_dict(),
            "optimizer": runner.optim_wrapper.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],
            "progress": progress_hook(runner).state(runner, iteration),
        }
        self.require_finite(state, runner)
        self.saved = time.perf_counter()
        if not is_main_process():
            return
        path = self.folder / f"{iteration:08d}.pt"
        with atomic_path(path) as temporary:
            with open(temporary, "wb") as handle:  # given a path, torch hides why the disk refuses
                torch.save(state, handle)
            digest = sha256(temporary)
        write_json(path.with_suffix(".json"), {"schema": SCHEMA, "version": VERSION, "sha256": digest})
        for old in sorted(self.folder.glob("*.pt"))[:-2]:
            old.unlink()
            old.with_suffix(".json").unlink(missing_ok=True)

    @staticmethod
    def require_finite(state: dict[str, Any], runner: Runner) -> None:
        """Raise UserError in all processes if the state of any holds a number that is not finite."""
        found = state_faults(state)
        count = torch.tensor(len(found))
        all_reduce(count)
        if count:
            raise UserError(
                f"{listed(found) or 'a tensor of another process'} stopped being finite by iteration "
                f"{state['iteration']} of {runner.work_dir}: lower the learning rate (--cfg-options "
                "optim_wrapper.optimizer.lr=...) or clip gradients harder; the last saved state is intact"
            )


def newest_state(folder: Path) -> dict[str, Any] | None:
    """The newest state in a run's `state/` that is whole and finite, or None where no state was ever written.

    Raises:
        UserError: there are states, but none that can be used.
    """
    files = sorted(folder.glob("*.pt"), reverse=True)
    for file in files:
        try:
            return read_state(file)
        except UserError as error:
            print(f"warning: {error}; trying the state before it", flush=True)
    if files:
        raise UserError(f"no state in {folder} is whole: start again without --resume")
    return None


def read_state(file: Path) -> dict[str, Any]:
    """Read one state.

    Raises:
        UserError: it is damaged, of another version, no state at all, or not finite.
    """
    manifest = file.with_suffix(".json")
    try:
        stated = json.loads(manifest.read_text())
        found = stated["schema"], stated["version"]
        digest = stated["sha256"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged ({manifest.name}: {type(error).__name__})") from None
    if found != (SCHEMA, VERSION):
        raise UserError(f"{file} is {found[0]} version {found[1]}, this code reads {SCHEMA} {VERSION}")
    if digest != sha256(file):
        raise UserError(f"{file} is damaged (checksum differs)")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        lacking = [name for name in FIELDS if name not in state]
        faults = [] if lacking else state_faults(state)
    except Exception as error:  # noqa: BLE001  whatever a file that is no state makes torch raise
        raise UserError(f"{file} is no state ({type(error).__name__})") from None
    if lacking:
        raise UserError(f"{file} is no state (it lacks {lacking[0]})")
    if faults:
        raise UserError(f"{file} is not finite ({listed(faults)})")
    return state


def resume_hook(runner: Runner) -> ResumeHook:
    """The runner's ResumeHook, which also keeps its clock."""
    return next(hook for hook in runner.hooks if isinstance(hook, ResumeHook))
