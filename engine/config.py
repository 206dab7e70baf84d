"""From a config file and the command line to the whole configuration of one run.

Layers, each over the one before: `engine/configs/_base_/runtime.py`; the config file with its bases; the scale overlay
`<room>/_base_/scale_<scale>.py` (paper-cae: `scale_paper_cae.py`), where a room has several heads that of the head,
`<room>/_base_/<task>_<scale>.py`, and its row of the table `by_method`; the config's own `at_scale[<scale>]`; the data
overlay; `--cfg-options`. Then the values that follow from others are filled in: seeds, folders, schedule ends, data
folders. The result is dumped whole into the run's folder.
"""

import difflib
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config

from datasets.sections import bind_data
from engine.distributed import world_size_of_launcher
from engine.errors import UserError
from engine.provenance import digest

RUNTIME = Path(__file__).parent / "configs" / "_base_" / "runtime.py"
# Where a run is and how it is started does not change what it computes, so it has no part in the hash.
PLACEMENT = (
    "work_dir", "resume", "launcher", "run_name", "config_hash", "progress_interval", "state_interval", "state_minutes",
    "log_level",
)  # fmt: skip


def load_config(
    path: str | Path,
    scale: str = "tiny",
    seed: int = 0,
    checkpoint: str | None = None,
    data: str | None = None,
    work_dir: str | None = None,
    options: dict[str, Any] | None = None,
    amp: bool = False,
    resume: bool = False,
    launcher: str = "none",
) -> Config:
    """Return the whole configuration of one run.

    Args:
        path: a config file of `pretrain/configs`, `seg_configs`, `det_configs` or `depth/configs`.
        scale: name of a scale overlay beside the config.
        seed: the run's seed.
        checkpoint: a checkpoint folder to fine-tune instead of the method's own; in pretraining, the parent instead of
            that of the method named as `parent`.
        data: a data overlay file that replaces the `data` section.
        work_dir: the run's folder instead of `runs/<scale>/<task>/<method>/seed<seed>`.
        options: dotted keys and values of `--cfg-options`.
        amp: bf16 autocast.
        resume: go on from the newest state in the run's folder.
        launcher: mmengine's launcher name.

    Raises:
        UserError: a file that is absent or cannot be read, a scale that the config does not have, or options that do
            not fit it or each other.
    """
    path = Path(path)
    cfg = read(RUNTIME)
    cfg.merge_from_dict(read(path).to_dict())
    scale = scale.replace("_", "-")
    shared = "method" not in cfg  # one config for the encoders of all methods
    if shared:
        cfg.method = method_of(path, checkpoint)
    merge_scale(cfg, path, scale)
    if "train_dataloader" not in cfg:
        raise UserError(f"{path} is a test at scale {scale!r}: start it by python tools/test.py, with --checkpoint")
    if data is not None:
        overlay = read(Path(data)).to_dict()
        if not isinstance(overlay.get("data"), dict) or "name" not in overlay["data"]:
            raise UserError(f"{data} has no `data = dict(name=..., ...)` section: see README, 'Your own data'")
        cfg.data = overlay.pop("data")
        cfg.merge_from_dict(overlay)
    merge_options(cfg, options, path)
    if cfg.state_interval % cfg.progress_interval:
        raise UserError(
            f"state_interval {cfg.state_interval} is no multiple of progress_interval {cfg.progress_interval}: choose "
            "one, so that losses are checked before a state that holds them is written"
        )
    check_seed(seed)
    cfg.scale, cfg.seed, cfg.launcher, cfg.resume = scale, seed, launcher, resume
    cfg.setdefault("role", "final")
    departures = {"options": options, "amp": amp, "checkpoint": checkpoint}
    if shared and is_own(cfg, data, checkpoint):
        departures["checkpoint"] = None
    cfg.work_dir = str(work_dir or run_folder(cfg, data, departures))
    cfg.run_name = f"{cfg.task} {cfg.method} seed {seed}"
    # The encoder to fine-tune; in pretraining, the parent of a second stage.
    source = cfg.get("parent") if cfg.task == "pretrain" else cfg.method
    if source or checkpoint:
        cfg.checkpoint_of_method = checkpoint is None
        # A second form of a published protocol fine-tunes the same encoders as the first.
        pretrained = cfg.get("pretrain_scale", scale)
        cfg.checkpoint = checkpoint or f"runs/{pretrained}/pretrain/{source}/seed{seed}/checkpoint"
    if cfg.task != "pretrain":
        parts = (cfg.data.name, cfg.task.replace("_", "-"), cfg.data.get("attribute"), scale, "v1")
        cfg.protocol = "-".join(filter(None, parts))
    cfg.optim_wrapper.type = "SteadyOptimWrapper"
    cfg.optim_wrapper.amp = amp
    share_batch(cfg)
    bind_data(cfg)
    fill_schedule(cfg)
    cfg.randomness = {**cfg.get("randomness", {}), "seed": seed, "diff_rank_seed": False}
    cfg.train_dataloader.sampler = dict(type="AddressedSampler", seed=seed)
    cfg.train_dataloader.dataset = dict(type="Addressed", seed=seed, dataset=cfg.train_dataloader.dataset)
    cfg.config_hash = config_hash(cfg)
    return Config(cfg.to_dict(), cfg_text="\n", filename="config.py")  # the name under which the runner dumps it


def read(path: Path) -> Config:
    """Read one config file; every failure is a sentence."""
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UserError(f"there is no config {path}{hint}")
    try:
        return Config.fromfile(str(path))
    except Exception as error:  # a config is code: whatever it raises is a fault of that file
        raise UserError(f"{path} cannot be read as a config: {type(error).__name__}: {error}") from error


def merge_scale(cfg: Config, path: Path, scale: str) -> None:
    """Merge the overlays of `scale`, the method's row of the table `by_method` that they may hold, then what the config
    itself says for that scale: a dict, or why it has none."""
    room, suffix = path.parent / "_base_", scale.replace("-", "_")
    at_scale = cfg.pop("at_scale", {})
    if not (room / f"scale_{suffix}.py").is_file():
        known = sorted(p.stem.removeprefix("scale_").replace("_", "-") for p in room.glob("scale_*.py"))
        raise UserError(f"{path} has no scale {scale!r}: choose one of {', '.join(known) or '(none)'}")
    if isinstance(at_scale.get(scale), str):
        raise UserError(f"{path} has no scale {scale!r}: {at_scale[scale]}")
    cfg.merge_from_dict(read(room / f"scale_{suffix}.py").to_dict())
    of_head = room / f"{cfg.get('task')}_{suffix}.py"
    if of_head.is_file():
        cfg.merge_from_dict(read(of_head).to_dict())
    by_method = cfg.pop("by_method", {})
    if cfg.get("method") in by_method:
        cfg.merge_from_dict(by_method[cfg.method].to_dict())
    if scale in at_scale:
        cfg.merge_from_dict(at_scale[scale].to_dict())


def method_of(path: Path, checkpoint: str | None) -> str:
    """The method whose encoder a checkpoint folder holds. UserError where a config without a method gets no folder."""
    if checkpoint is None:
        raise UserError(f"{path} serves the encoders of all methods: name one with --checkpoint FOLDER")
    try:
        return json.loads(Path(checkpoint, "checkpoint.json").read_text())["method"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{checkpoint} is no checkpoint folder ({type(error).__name__}): see docs/formats.md") from None


def check_seed(seed: int) -> None:
    """UserError where the generators cannot take a seed."""
    if not 0 <= seed < 2**32:
        raise UserError(f"seed {seed} is not within 0..{2**32 - 1}: choose another")


def merge_options(cfg: Config, options: dict[str, Any] | None, path: Path) -> None:
    """Merge the dotted keys of `--cfg-options`."""
    try:
        cfg.merge_from_dict(options or {})
    except (TypeError, KeyError, IndexError) as error:
        raise UserError(f"--cfg-options does not fit {path}: {error}") from error


def run_folder(cfg: Config, data: str | None, departures: dict[str, Any]) -> str:
    """The run's folder below runs/: named after data that an overlay brought; a scale's own data need no name.

    A run that departs from the method's own settings must not be taken for the study's cell: its name gets a hash of
    the departures, where there are any.
    """
    place = cfg.scale if cfg.data.name == "scenes" or data is None else f"{cfg.scale}-{cfg.data.name}"
    own = f"-{digest(departures)[:8]}" if any(departures.values()) else ""
    return f"runs/{place}/{cfg.task}/{cfg.method}/seed{cfg.seed}{own}"


def is_own(cfg: Config, data: str | None, checkpoint: str) -> bool:
    """Whether a checkpoint stands where the method's own pretraining of the same scale, data and seed leaves it."""
    own = Path(run_folder(cfg, data, {})).parents[2] / "pretrain" / cfg.method / f"seed{cfg.seed}" / "checkpoint"
    return own.resolve() == Path(checkpoint).resolve()


def share_batch(cfg: Config) -> None:
    """Divide the batch among processes and, with `accumulation`, the passes of an update: the recipe stays the same.

    A `global_batch_size` is that of all processes; without one, `train_dataloader.batch_size` is that of each.
    """
    if "accumulative_counts" in cfg.optim_wrapper:
        raise UserError(
            "optim_wrapper.accumulative_counts would change the batch and the number of updates: say accumulation=N, "
            "which makes each update of N passes and keeps both"
        )
    passes, processes = cfg.pop("accumulation", 1), world_size_of_launcher(cfg.launcher)
    if not isinstance(passes, int) or passes < 1:
        raise UserError(f"accumulation {passes} is no number of passes: choose 1 or more")
    if "global_batch_size" in cfg:
        total, shares, of = cfg.global_batch_size, processes * passes, f"{processes} processes"
    else:
        total, shares, of = cfg.train_dataloader.batch_size, passes, "the process"
    if total % shares:
        raise UserError(f"a batch of {total} cannot be shared by {of} with {passes} passes each: choose a multiple")
    cfg.train_dataloader.batch_size = total // shares
    if passes > 1:
        cfg.train_cfg.accumulation = cfg.optim_wrapper.accumulative_counts = passes


def fill_schedule(cfg: Config) -> None:
    """Schedules whose `end` is None end at the last iteration; with few iterations, warm-up gives way."""
    last = cfg.train_cfg.max_iters
    for scheduler in cfg.get("param_scheduler", []):
        if "end" in scheduler:
            scheduler.end = last if scheduler.end is None else min(scheduler.end, last)
        if scheduler.type == "CosineAnnealingLR" and scheduler.get("T_max") is None:
            scheduler.T_max = max(1, scheduler.end - scheduler.get("begin", 0))
    cfg.param_scheduler = [s for s in cfg.get("param_scheduler", []) if s.get("begin", 0) < s.get("end", last)]


def hashed_content(cfg: Config) -> dict[str, Any]:
    """Everything in the configuration that can change what the run computes; the number of loader workers cannot."""
    content = cfg.to_dict()
    for key in PLACEMENT:
        content.pop(key, None)
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        content.get(loader, {}).pop("num_workers", None)
    return {**content, "processes": world_size_of_launcher(cfg.launcher)}


def config_hash(cfg: Config) -> str:
    """SHA-256 of `hashed_content`."""
    return digest(hashed_content(cfg))
