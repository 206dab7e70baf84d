"""The first stage of a two-stage pretraining: trained here on the embedded data if nobody has done so."""

import contextlib
import fcntl
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process

from backbones import checkpoint_exists
from engine.catalogue import PRETRAIN
from engine.errors import UserError
from engine.files import writing

TRAIN = Path(__file__).resolve().parents[1] / "tools" / "train.py"
# What a launcher tells its processes: the first stage is one process of its own.
LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")


def take_parent(cfg: Config) -> None:
    """Bind the parent of a pretraining run; on the embedded data, train it first where it is missing.

    Raises:
        UserError: as `pretrain.parent.fill_parent`, or a first stage that did not end well.
    """
    from pretrain.parent import fill_parent

    if cfg.get("checkpoint") and cfg.checkpoint_of_method and cfg.data.get("scenes_root"):
        if is_main_process():
            words = [PRETRAIN.config.format(method=cfg.parent), "--scale", cfg.scale, "--seed", str(cfg.seed)]
            train_once(Path(cfg.checkpoint), words, f"{cfg.run_name} needs {cfg.checkpoint}")
        barrier()
    fill_parent(cfg)


def train_once(checkpoint: Path, words: list[str], why: str) -> None:
    """Run `tools/train.py` with `words` unless `checkpoint` is there, never twice at a time.

    The lock is held by the training process too: if this one dies, another waits for that training to end instead of
    beginning beside it. An unfinished first stage is resumed.

    Args:
        checkpoint: the folder that the training leaves in its run's folder.
        words: arguments of tools/train.py.
        why: beginning of the line that says what happens.
    """
    with made_once(checkpoint, why) as lock:
        if lock is None:
            return
        print(f"{why}: training it first with `{shlex.join(['python', 'tools/train.py', *words])}`", flush=True)
        environment = {key: value for key, value in os.environ.items() if key not in LAUNCHER}
        command = [sys.executable, str(TRAIN), *words, "--resume"]
        status = subprocess.run(command, env=environment, pass_fds=[lock.fileno()]).returncode
    if status:
        raise UserError(f"the first stage ended with exit status {status}, its reason above: mend that and run again")


@contextlib.contextmanager
def made_once(checkpoint: Path, why: str) -> Iterator[TextIO | None]:
    """The lock under which this process makes a checkpoint; None where it is there, or another process has made it.

    Args:
        checkpoint: a folder in its run's folder.
        why: beginning of the line that says what one waits for.
    """
    if checkpoint_exists(checkpoint):
        yield None
        return
    run = checkpoint.parent
    with writing(run.parent):
        run.parent.mkdir(parents=True, exist_ok=True)
    with open(run.with_name(f".{run.name}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{why}, which another process makes: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield None if checkpoint_exists(checkpoint) else lock
