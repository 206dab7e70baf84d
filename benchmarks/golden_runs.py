"""The short runs whose results must not change: how each is started, and what is written down of it.

Every run is a command, as a person gives it, in a folder that holds the repository and the rendered scenes by links and
nothing that an earlier run derived from them (index, vocabulary, token ids, features): stored values of older code
would hide what newer code makes of them.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from engine.catalogue import TASK
from engine.errors import UserError
from engine.provenance import digest
from engine.resume import newest_state
from scenes.export import ensure

ROOT = Path(__file__).resolve().parents[1]
SHORT = ("train_cfg.max_iters=12", "state_interval=12", "progress_interval=4")
SETTINGS = ("lr", "initial_lr", "weight_decay", "betas", "momentum", "eps")  # of a group; the rest is torch's own
UNTRAINED = ("random",)  # refuses a number of iterations
CONFIGS = {
    "pretrain": "pretrain/configs/{method}.py",
    "upernet": "seg_configs/upernet_{method}.py",
    "semantic_fpn": "seg_configs/semantic_fpn_{method}.py",
    "mask_rcnn": "det_configs/mask_rcnn_{method}.py",
    "cascade_mask_rcnn": "det_configs/cascade_mask_rcnn_{method}.py",
    "depth": "depth/configs/{method}.py",
}
# one config for the encoders of all methods
IMAGE_TASKS = ("linear_seg", "knn_seg", "linear_depth", "zero_shot", "retrieval", "knn", "linear_probe",
               "attentive_probe", "finetune")  # fmt: skip
PARENTS = {"fd": "clip", "wsp": "mae"}
ENCODERS = {  # of each head: two plain ViTs or more, and a hierarchical encoder
    "upernet": ("maskclip", "mae", "clip_resnet18"),
    "semantic_fpn": ("clip", "cae", "lightclip_swin_nano"),
    "mask_rcnn": ("maskclip", "cae", "lightclip_swin_nano"),
    "cascade_mask_rcnn": ("clip", "mae", "clip_resnet18"),
    "depth": ("mae", "cae", "clip_resnet18"),
}
# what scenes/ renders; everything else below its folder is derived
RENDERED = ("coco", "depth", "imagefolder", "images", "seg", "shards")


@dataclass(frozen=True)
class Run:
    """One run: `method` is that of the encoder; `parent` the method whose checkpoint it takes, None where it needs
    none."""

    task: str
    method: str
    parent: str | None

    @property
    def name(self) -> str:
        """What the golden file calls it."""
        return f"{self.task} {self.method}"


def spelled(task: str, method: str) -> list[str]:
    """The words of a command line that say which head is trained on which method's encoder: the one place to change
    when they are spelled otherwise."""
    return [CONFIGS.get(task, TASK[task].config).format(method=method)]


def methods() -> list[str]:
    """The pretraining methods."""
    return sorted(path.stem for path in (ROOT / "pretrain/configs").glob("*.py"))


def plan() -> dict[str, Run]:
    """All runs by name; whose checkpoint another takes stands before it."""
    first = sorted(methods(), key=lambda method: method in PARENTS)
    runs = [Run("pretrain", method, PARENTS.get(method)) for method in first]
    runs += [Run(task, method, method) for task, encoders in ENCODERS.items() for method in encoders]
    runs += [Run(task, "clip", "clip") for task in IMAGE_TASKS]
    return {run.name: run for run in runs}


def with_parents(names: list[str]) -> list[Run]:
    """The runs of these names and all whose checkpoints they need, in the order of `plan`."""
    known, wanted, queue = plan(), set(), list(names)
    while queue:
        run = known[queue.pop()]
        wanted.add(run.name)
        if run.parent is not None:
            queue.append(f"pretrain {run.parent}")
    return [run for name, run in known.items() if name in wanted]


def lay_out(house: Path) -> None:
    """Links to the repository and to the rendered scenes (made now where there are none) in an empty folder."""
    ensure(ROOT / "data/scenes")
    for source in ROOT.iterdir():
        if source.name not in ("data", "runs", "report") and not source.name.startswith("."):
            (house / source.name).symlink_to(source)
    scenes = house / "data/scenes"
    scenes.mkdir(parents=True)
    (scenes / "manifest.json").symlink_to(ROOT / "data/scenes/manifest.json")
    for kind in RENDERED:
        (scenes / kind).mkdir()
        for source in (ROOT / "data/scenes" / kind).iterdir():
            (scenes / kind / source.name).symlink_to(source.resolve())
    (house / "data/scenes-study").symlink_to(scenes)  # for configurations alone, which read the classes


def folder_of(house: Path, run: Run) -> Path:
    """Where the run leaves what it makes."""
    return house / "runs/golden" / run.task / run.method


def command(house: Path, run: Run) -> list[str]:
    """The command line of a run."""
    tests = run.task in IMAGE_TASKS and run.task != "finetune"
    words = [sys.executable, "tools/test.py" if tests else "tools/train.py", *spelled(run.task, run.method)]
    words += ["--scale", "tiny", "--seed", "0", "--work-dir", str(folder_of(house, run))]
    if run.parent is not None:
        words += ["--checkpoint", str(folder_of(house, Run("pretrain", run.parent, None)) / "checkpoint")]
    options = SHORT[1:] if run.task == "pretrain" and run.method in UNTRAINED else SHORT
    return words if tests else [*words, "--cfg-options", *options]


def perform(house: Path, run: Run, parent: Future | None) -> dict[str, Any]:
    """Run it once its parent has ended, and return what `measured` finds.

    Raises:
        UserError: the command ended with an error; the message holds the last line that it printed.
    """
    if parent is not None and parent.exception() is not None:
        raise UserError(f"the run of {run.parent}, whose checkpoint it takes, failed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command(house, run), cwd=house, env=environment, capture_output=True, text=True)
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip() or "nothing").splitlines()[-1]
        raise UserError(f"exit status {ended.returncode}, last line: {said}")
    return measured(folder_of(house, run))


def results(house: Path, names: list[str], jobs: int, done: Callable[[], Any]) -> Iterator[tuple[str, dict | str]]:
    """(name, what was measured or why it failed) of each of `names`; `jobs` run at a time.

    Args:
        house: a folder made by `lay_out`.
        done: called when a run has ended, those which are there for their checkpoint alone included.
    """
    futures: dict[str, Future] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for run in with_parents(names):  # parents are begun first, so who waits for one never keeps it from starting
            parent = futures.get(f"pretrain {run.parent}")
            futures[run.name] = pool.submit(perform, house, run, parent)
            futures[run.name].add_done_callback(lambda _: done())
        for name in names:
            try:
                yield name, futures[name].result()
            except UserError as error:
                yield name, str(error)


def measured(folder: Path) -> dict[str, Any]:
    """What a finished run left, as far as it must not change; times and paths are left out."""
    found: dict[str, Any] = {"weights": {}, "ledger": {}}
    for name in ("checkpoint/encoder.safetensors", "checkpoint/text.safetensors", "model.safetensors"):
        if (folder / name).is_file():
            found["weights"][Path(name).stem] = weights_digest(folder / name)
    if (folder / "ledger.json").is_file():
        found["ledger"]["run"] = digest(json.loads((folder / "ledger.json").read_text()))
    if (folder / "checkpoint/checkpoint.json").is_file():
        meta = json.loads((folder / "checkpoint/checkpoint.json").read_text())
        found["ledger"]["checkpoint"] = digest(meta["ledger"])
        found["checkpoint"] = {key: meta[key] for key in ("encoder", "image", "updates", "samples_seen", "captions")}
    if (folder / "curve.jsonl").is_file():
        found["curve"] = [json.loads(row) for row in (folder / "curve.jsonl").read_text().splitlines()]
    if (state := newest_state(folder / "state")) is not None:
        found["groups"] = parameter_groups(state["optimizer"])
    if (folder / "result.json").is_file():
        record = json.loads((folder / "result.json").read_text())
        found["metrics"] = record["metrics"]
        found["record"] = {key: record[key] for key in ("protocol", "head", "split", "captions", "settings", "budget")}
        found["record"] |= {key: record["cost"][key] for key in ("parameters", "flops")}
        for stage in found["record"]["budget"].get("earlier_stages", ()):
            del stage["wall_s"]
    return found


def weights_digest(path: Path) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor of a safetensors file, in the order of their names."""
    total = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def parameter_groups(optimizer: dict[str, Any]) -> list[dict[str, Any]]:
    """The distinct groups of an optimizer's state: the settings of each, how many tensors it has and how many numbers
    they hold (as far as the optimizer keeps a moment of them)."""
    groups: dict[str, dict[str, Any]] = {}
    for group in optimizer["param_groups"]:
        settings = {key: group[key] for key in SETTINGS if key in group}
        own = groups.setdefault(json.dumps(settings, sort_keys=True), {**settings, "tensors": 0, "numbers": 0})
        own["tensors"] += len(group["params"])
        own["numbers"] += sum(size_of(optimizer["state"].get(index, {})) for index in group["params"])
    return [groups[key] for key in sorted(groups)]


def size_of(moments: dict[str, Any]) -> int:
    """Numbers of a parameter, from the largest moment that the optimizer keeps of it."""
    return max((value.numel() for value in moments.values() if isinstance(value, torch.Tensor)), default=0)
