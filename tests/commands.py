"""The entry points as a user runs them, and checkpoints to run them on."""

import contextlib
import json
import os
import re
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from backbones import build_encoder, save_checkpoint
from engine.files import sealed, sha256
from reports.migrations import VERSION
from reports.records import write_record
from study.cells import Cell
from study.configure import load_config
from study.local import Local, import_everything
from tests.checkpoints import any_encoder

ROOT = Path(__file__).resolve().parents[1]
ENCODER = {
    "name": "vit_tiny_patch16_224",
    "kwargs": {"img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 4, "num_heads": 3},
}


@dataclass
class Ended:
    """What a command left: its exit status and what it printed."""

    code: int
    out: str
    err: str

    def refusal(self) -> str:
        """The one line that a refused command prints."""
        assert self.code == 2, f"exit status {self.code}\n{self.out}\n{self.err}"
        both = self.out + self.err
        assert "Traceback" not in both
        lines = [line for line in both.splitlines() if line.startswith("error:")]
        assert len(lines) == 1 and lines[0] in self.err.splitlines()
        assert self.err.splitlines()[-1] == lines[0], "the sentence must be the last thing on the screen"
        assert len(re.sub(r"/\S+/", "", lines[0])) < 700, (
            "apart from folders, which are as long as the machine has them"
        )
        return lines[0]


@pytest.fixture
def command(in_child, tmp_path) -> Callable[..., Ended]:
    """`command("train", "seg_configs/upernet_mae.py", ...)`: run an entry point of tools/ in a forked process.

    The script's own `if __name__ == "__main__"` runs; only the imports are shared with this process, to save time.
    """
    import_everything()

    def call(script: str, *arguments: object, cwd: Path = ROOT) -> Ended:
        files = tmp_path / f"{script}.stdout", tmp_path / f"{script}.stderr"

        def body() -> None:
            for number, file in enumerate(files, start=1):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
            os.chdir(cwd)
            sys.argv = [f"tools/{script}.py", *map(str, arguments)]
            code = 0
            try:
                runpy.run_path(f"tools/{script}.py", run_name="__main__")
            except SystemExit as end:
                code = end.code or 0
                if isinstance(code, str):
                    print(code, file=sys.stderr)
                    code = 1
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)

        code = in_child(body)
        return Ended(code, *(file.read_text() for file in files))

    return call


@pytest.fixture
def checkpoint(tmp_path) -> Callable[..., Path]:
    """`checkpoint(method="mae", encoder=ENCODER)`: write a checkpoint folder of a random encoder."""

    def make(method: str = "mae", encoder: dict = ENCODER, folder: Path | None = None, seed: int = 0) -> Path:
        folder = folder or tmp_path / "checkpoint"
        torch.manual_seed(seed)
        meta = {
            "method": method, "captions": None, "seed": 0, "scale": "tiny", "encoder": encoder,
            "image": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "size": 64},
            "data": {"name": "scenes", "samples": 48}, "samples_seen": 64, "updates": 1, "config_hash": "abcdef01",
            "code_version": "0", "parent": None, "ledger": None, "text": None,
            "cost": {"wall_s": 1.0, "samples_per_s": 64.0, "peak_memory_mib": None, "hardware": None},
        }  # fmt: skip
        save_checkpoint(folder, build_encoder(**encoder), meta)
        return folder

    return make


@contextlib.contextmanager
def tampered(folder: Path):
    """Yield a checkpoint's tensors to change; they are written back under a checksum that is right."""
    weights = folder / "encoder.safetensors"
    state = load_file(weights)
    yield state
    save_file(state, weights)
    meta = json.loads((folder / "checkpoint.json").read_text())
    meta["sha256"][weights.name] = sha256(weights)
    (folder / "checkpoint.json").write_text(json.dumps(sealed(meta)))


@pytest.fixture
def tamper() -> Callable:
    """`with tamper(folder) as state`: change the tensors of a checkpoint, not its checksum's validity."""
    return tampered


@pytest.fixture
def overlay(scenes_root, tmp_path) -> Callable[..., Path]:
    """`overlay("seg_configs/upernet_mae.py")`: a data overlay that puts a config on the small export or `root`."""

    def make(config: str, root: Path | None = None, **changes: object) -> Path:
        data = load_config(config, encoder=any_encoder(config)).data.to_dict()
        data["root"] = data["root"].replace("data/scenes", str(root or scenes_root))
        data.pop("scenes_root", None)  # which would render the whole scenes there
        path = tmp_path / f"small-{config.replace('/', '-')}"
        path.write_text(f"data = {data | {'name': 'small-scenes'} | changes!r}\n")
        return path

    return make


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A working directory with the tools and configs, but without the runs and data of this checkout."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for room in ("engine", "tools", "pretrain", "probes", "recognition", "seg_configs", "det_configs", "depth"):
        (folder / room).symlink_to(ROOT / room)
    return folder


@pytest.fixture
def here(elsewhere, monkeypatch):
    """Work in a directory without runs; look at the scheduler's cells quickly."""
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(Local, "refresh", 0.01)
    return elsewhere


def leave_outcome(cell: Cell, value: float | None = 1.0, **changes: object) -> None:
    """Leave what a finished run leaves, its record with `changes`; `value` None: what a failed one leaves."""
    if cell.task == "pretrain":
        cell.outcome.parent.mkdir(parents=True)
        cell.outcome.write_text("{}")
        return
    name, direction = ("rmse", "down") if cell.task == "depth" else ("mIoU", "up")
    unit = "m" if cell.task == "depth" else "%"
    metrics = {name: {"value": value, "unit": unit, "direction": direction, "primary": True},
               "aAcc": {"value": -100 * (value or 0), "unit": "", "direction": "up", "primary": False}}  # fmt: skip
    write_record(cell.folder, {
        "schema": "densebench/result", "version": VERSION, "task": cell.task, "protocol": "p", "dataset": "d",
        "status": "failed" if value is None else "ok", "error": "why" if value is None else None,
        "metrics": {} if value is None else metrics, "split": "val" if cell.point else "test", "scale": cell.scale,
        "tested_on": "test", "name": cell.method, "source": None, "family": "unknown",
        "role": "trial" if cell.point else "final", "method": cell.method, "method_name": cell.method, "captions": None,
        "reference": False, "reference_kind": None, "head": "h", "seed": cell.seed, "samples": [], "selection": None,
        "checkpoint": {"sha256": "0" * 64, "encoder": {"name": "e", "kwargs": {}}}, "command": "", "versions": {},
        "settings": {**dict.fromkeys((
            "lr", "layer_decay", "iterations", "global_batch", "processes", "precision", "input_size", "mean", "std",
            "train_images", "detections", "proposals",
        )), "options": []},
        "budget": {**dict.fromkeys(("pretrain_updates", "pretrain_samples", "pretrain_scale")),
                   "pretrain_data": {"name": "unknown", "samples": None}}, "config_hash": "0" * 8, "code_version": "0",
        "cost": dict.fromkeys(("pretrain_wall_s", "pretrain_samples_per_s", "finetune_wall_s", "finetune_samples_per_s",
                               "peak_memory_mib", "parameters", "flops")),
        "hardware": {"device": "cpu", "cpu": "c", "threads": 1},
        **changes,
    })  # fmt: skip


@pytest.fixture
def finish() -> Callable[..., None]:
    """`finish(cell, value)`: see `leave_outcome`."""
    return leave_outcome
