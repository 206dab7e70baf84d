"""The layers of a configuration, each over the one before, and what is left to fill in.

`engine/configs/_base_/runtime.py`; the config file with its bases; the scale overlay `<room>/_base_/scale_<scale>.py`
(paper-cae: `scale_paper_cae.py`), where a room has several heads that of the head, `<room>/_base_/<task>_<scale>.py`,
and its row of the table `by_method`; the config's own `at_scale[<scale>]`; the data overlay; `--cfg-options`.

What no layer can know stands there as a mark: "<data>", "<encoder>" or "<last>" (the last iteration). Whoever knows it
fills it, in the order of `study/configure.py`, and `settled` refuses a configuration in which a mark is left.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from engine.distributed import world_size_of_launcher
from engine.errors import UserError
from engine.names import check_indexed, check_overlay, did_you_mean, top_level
from engine.provenance import REPOSITORY, digest
from engine.run_folder import flatten
from engine.switches import refuse_flags

RUNTIME = Path(__file__).parent / "configs" / "_base_" / "runtime.py"
DATA, ENCODER, LAST = "<data>", "<encoder>", "<last>"
FILLED_BY = {DATA: "the data section (docs/data.md)", ENCODER: "the encoder's checkpoint", LAST: "train_cfg.max_iters"}
# Sections that say what a data set is and what is asked of it: those of an overlay replace the config's.
OF_THE_DATA = ("data", "questions")
# Where a run is and how it is started does not change what it computes, so it has no part in the hash.
PLACEMENT = (
    "work_dir", "resume", "launcher", "run_name", "config_hash", "progress_interval", "state_interval", "state_minutes",
    "log_level", "departures", "encoder_name", "recompute_blocks",
)  # fmt: skip


class Trace:
    """Which layer each value of a configuration comes from.

    Args:
        asked: whether anybody will read it; otherwise nothing is noted, since that takes longer than loading.

    Attributes:
        origin: {dotted key: layer}; a value that a later layer repeats keeps the earlier one's name.
    """

    def __init__(self, asked: bool = True) -> None:
        self.asked = asked
        self.origin: dict[str, str] = {}
        self._values: dict[str, Any] = {}

    def note(self, cfg: Config, layer: str, file: Path | None = None) -> None:
        """Credit what is new or changed in `cfg` to `layer`, or to that of a file's bases that states it."""
        if not self.asked:
            return
        of_file = origins(file) if file else {}
        values = flatten(cfg.to_dict())
        for key, value in values.items():
            if key not in self._values or self._values[key] != value:
                self.origin[key] = of_file.get(key, layer)
        self._values = values
        self.origin = {key: self.origin[key] for key in values}

    def lines(self, key: str = "") -> list[str]:
        """ "KEY = VALUE    LAYER" of every value at or below `key`. UserError where there is none."""
        shown = {k: v for k, v in self._values.items() if not key or k == key or k.startswith(f"{key}.")}
        if not shown:
            raise UserError(f"--show: the configuration has no {key!r}{did_you_mean(key, self._values)}")
        texts = {k: f"{k} = {v!r}" + (f"  (filled from {FILLED_BY[v]})" if v in FILLED_BY else "")
                 if isinstance(v, str) else f"{k} = {v!r}" for k, v in shown.items()}  # fmt: skip
        width = min(72, max(map(len, texts.values())))
        return [f"{text:<{width}}    {self.origin[k]}" for k, text in texts.items()]


def merge_layers(
    path: Path, scale: str, method: str | None, data: str | None, options: dict[str, Any] | None, trace: Trace
) -> Config:
    """Merge all layers of a config file.

    Args:
        path: the config file. scale: of the overlay beside it.
        method: whose encoder it is for, where the file does not say.
        data: a data overlay file. options: dotted keys and values of `--cfg-options`.
        trace: notes where values come from.

    Raises:
        UserError: a file that is absent or cannot be read, a scale that the config does not have, or a name that
            nothing reads.
    """
    cfg = read(RUNTIME)
    trace.note(cfg, shown(RUNTIME))
    cfg.merge_from_dict(read(path).to_dict())
    trace.note(cfg, shown(path), path)
    if method is not None:
        cfg.method = method
    merge_scale(cfg, path, scale, trace)
    drop_helpers(cfg, path)
    if data is not None:
        merge_data(cfg, Path(data))
        trace.note(cfg, data)
    merge_options(cfg, options, path)
    trace.note(cfg, "--cfg-options")
    return cfg


def read(path: Path) -> Config:
    """Read one config file; every failure is a sentence."""
    if path.is_dir():
        inside = ", ".join(sorted(p.name for p in path.glob("*.py"))) or "none here"
        raise UserError(f"{path} is a folder, and a config is a file of Python: {inside}")
    if not path.is_file():
        raise UserError(
            f"there is no config {path}{did_you_mean(path.name, [p.name for p in path.parent.glob('*.py')])}"
        )
    try:
        return Config.fromfile(str(path))
    except Exception as error:  # a config is code: whatever it raises is a fault of that file
        raise UserError(f"{path} cannot be read as a config: {type(error).__name__}: {error}") from error


def shown(path: Path) -> str:
    """A path as people know it: from the checkout, where it lies in there."""
    path = path.resolve()
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else str(path)


def origins(path: Path) -> dict[str, str]:
    """{dotted key: the file that states its value} of a config file with its bases."""
    values = flatten(read(path).to_dict())
    found = dict.fromkeys(values, shown(path))
    for base in bases(path):
        below, stated = origins(base), flatten(read(base).to_dict())
        found |= {key: below[key] for key in values if key in stated and stated[key] == values[key]}
    return found


def bases(path: Path) -> Iterator[Path]:
    """The files that a config names as its `_base_`."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_base_":
            named = ast.literal_eval(node.value)
            yield from (path.parent / name for name in ([named] if isinstance(named, str) else named))


def merge_scale(cfg: Config, path: Path, scale: str, trace: Trace) -> None:
    """Merge the overlays of `scale`, the method's row of the table `by_method` that they may hold, then what the config
    itself says for that scale: a dict, or why it has none."""
    room, suffix = path.parent / "_base_", scale.replace("-", "_")
    at_scale = cfg.pop("at_scale", {})
    if not (room / f"scale_{suffix}.py").is_file():
        known = sorted(p.stem.removeprefix("scale_").replace("_", "-") for p in room.glob("scale_*.py"))
        raise UserError(f"{path} has no scale {scale!r}: choose one of {', '.join(known) or '(none)'}")
    if isinstance(at_scale.get(scale), str):
        raise UserError(f"{path} has no scale {scale!r}: {at_scale[scale]}")
    for file in (room / f"scale_{suffix}.py", room / f"{cfg.get('task')}_{suffix}.py"):
        if file.is_file():
            cfg.merge_from_dict(read(file).to_dict())
            trace.note(cfg, shown(file), file)
    by_method = cfg.pop("by_method", {})
    if cfg.get("method") in by_method:
        cfg.merge_from_dict(by_method[cfg.method].to_dict())
    trace.note(cfg, f"by_method[{cfg.get('method')!r}]")
    if scale in at_scale:
        cfg.merge_from_dict(at_scale[scale].to_dict())
    trace.note(cfg, f"{shown(path)}, at_scale[{scale!r}]")


def drop_helpers(cfg: Config, path: Path) -> None:
    """Leave out top-level names that only help files to state others; UserError for one that looks misspelt."""
    known = top_level()
    for name in [name for name in cfg if name not in known]:
        if near := did_you_mean(name, known, cutoff=0.85):
            raise UserError(f"{path}: nothing reads {name!r}{near}")
        cfg.pop(name)


def merge_data(cfg: Config, path: Path) -> None:
    """Merge a data overlay: its sections of OF_THE_DATA replace the config's, everything else is merged over it."""
    overlay = read(path).to_dict()
    if not isinstance(overlay.get("data"), dict) or "name" not in overlay["data"]:
        raise UserError(f"{path} has no `data = dict(name=..., ...)` section: see README, 'Your own data'")
    for section in OF_THE_DATA:
        if section in overlay:
            cfg[section] = overlay.pop(section)
    check_overlay(cfg, overlay, str(path))
    cfg.merge_from_dict(overlay)


def merge_options(cfg: Config, options: dict[str, Any] | None, path: Path) -> None:
    """Merge the dotted keys of `--cfg-options`. UserError for one that nothing reads, or that is a flag's."""
    options = options or {}
    refuse_flags(options)
    check_overlay(cfg, nested(options), "--cfg-options")
    stated = cfg.to_dict()
    for key in options:
        if any(name.isdigit() for name in key.split(".")):
            check_indexed(stated, key, "--cfg-options")
    try:
        cfg.merge_from_dict(options)
    except (TypeError, KeyError, IndexError) as error:
        raise UserError(f"--cfg-options does not fit {path}: {error}") from error


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": value} -> {"a": {"b": value}}, up to an index of a list."""
    result: dict[str, Any] = {}
    for key, value in options.items():
        *parents, last = key.split(".")
        node = result
        for name in parents:
            if name.isdigit():
                break
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                break
        else:
            node[last] = value
    return result


def fill(node: Any, mark: str, values: Mapping[str, Any]) -> None:
    """Put `values` by key wherever `mark` stands, at any depth of dicts and lists."""
    if isinstance(node, dict):
        for key, child in node.items():
            if child == mark and key in values:
                node[key] = values[key]
            else:
                fill(child, mark, values)
    elif isinstance(node, list | tuple):
        for child in node:
            fill(child, mark, values)


def settled(cfg: Config) -> None:
    """UserError where a mark is left in what the run reads."""
    for key, value in flatten(cfg.to_dict()).items():
        if isinstance(value, str) and value in FILLED_BY:
            raise UserError(f"{key} is still {value}: nothing in {FILLED_BY[value]} says it; state it in the config")


def check_seed(seed: int) -> None:
    """UserError where the generators cannot take a seed."""
    if not 0 <= seed < 2**32:
        raise UserError(f"seed {seed} is not within 0..{2**32 - 1}: choose another")


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
    """Schedules end where their `end` says; with few iterations, warm-up gives way."""
    last = cfg.train_cfg.max_iters
    for scheduler in cfg.get("param_scheduler", []):
        if "end" in scheduler:
            scheduler.end = last if scheduler.end == LAST else min(scheduler.end, last)
        if scheduler.type == "CosineAnnealingLR" and scheduler.get("T_max", LAST) == LAST:
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
