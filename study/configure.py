"""The whole configuration of one run, whatever it runs: the layers of its files, and the one order of what fills them.

1. `engine.config.merge_layers`: files, scale, data overlay, --cfg-options
2. `datasets.fill`: folders, classes, sizes                              marks "<data>"
3. `engine.recipe.expand`, `engine.config.fill_schedule`: schedules       marks "<last>"
4. which run it is: encoder, folder, protocol, hash
   ... and once data and checkpoints are there (`settle`, called by `study/run.py`):
5. `backbones.fill_encoder_parts`: adapter, channels, strides, mean, std       marks "<encoder>"
6. what only the data can tell: vocabulary, classes, tokenizer,
   detection limits where step 2 had no file to read yet                 marks "<data>"
7. `engine.config.settled`: no mark is left
"""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

import backbones
from datasets.fill import fill_data
from datasets.limits import fill_limits
from engine.catalogue import BASELINES, TASK
from engine.config import (
    PLACEMENT,
    Trace,
    check_seed,
    config_hash,
    fill_schedule,
    merge_layers,
    read,
    settled,
    share_batch,
)
from engine.errors import UserError
from engine.fit import fitted
from engine.idle import refuse_idle
from engine.names import check_typed, did_you_mean
from engine.provenance import REPOSITORY, digest
from engine.ranges import check_ranges
from engine.recipe import expand
from engine.run_path import RunPath, parse_checkpoint, place_of, pretraining
from engine.switches import autocast, keep_asked
from probes import config as of_probes
from recognition import config as of_images
from reports.migrations import SEARCHED
from study.encoders import checkpoint_of, methods

RULES = {"probe": of_probes, "image": of_images}  # group of tasks -> what their tests must state


@fitted
def load_config(
    path: str | Path,
    scale: str = "tiny",
    seed: int = 0,
    *,
    encoder: str | Path | None = None,
    checkpoint: str | Path | None = None,
    data: str | None = None,
    name: str | None = None,
    work_dir: str | Path | None = None,
    options: dict[str, Any] | None = None,
    amp: bool = False,
    resume: bool = False,
    launcher: str = "none",
    trace: Trace | None = None,
) -> Config:
    """Return the whole configuration of one run, but for what only its data and its encoder can tell.

    Args:
        path: a config file of `pretrain/configs`, `seg_configs`, `det_configs`, `depth/configs`, `probes/configs`,
            `recognition/configs`.
        scale: name of a scale overlay beside the config.
        seed: the run's seed.
        encoder: a method's name, whose own checkpoint of this scale and seed is taken, or what
            `study.encoders.checkpoint_of` makes a checkpoint folder of.
        checkpoint: a checkpoint folder in place of the method's own; in pretraining, the parent instead of that of the
            method named as `parent`.
        data: a data overlay file.
        name: what tables call the encoder, instead of what its checkpoint says; in pretraining, what that will say.
        work_dir: the run's folder instead of `runs/<scale>/<task>/<method>/seed<seed>`. options: `--cfg-options`.
        amp: bf16 autocast, which optim_wrapper.amp asks for too.
        resume: go on from the newest state in the run's folder. launcher: mmengine's launcher name.
        trace: is told where each value comes from.

    Raises:
        UserError: a file that is absent or cannot be read, a scale that the config does not have, a name that nothing
            reads, an encoder that is none, or a data section that does not serve the task.
    """
    path, scale, trace = Path(path), scale.replace("_", "-"), trace or Trace(asked=False)
    path, named = locate(path)
    method, checkpoint = which_encoder(path, named if encoder is None else encoder, checkpoint)
    path = pair_file(path, method) or path
    cfg = merge_layers(path, scale, method, data, options, trace)
    check_seed(seed)
    keep_asked(cfg, trained(cfg))
    cfg.scale, cfg.seed, cfg.launcher, cfg.resume = scale, seed, launcher, resume
    cfg.setdefault("role", "final")
    if name is not None:
        cfg.encoder_name = name
    fill_data(cfg, TASK[task_of(cfg, path)].kinds)
    trace.note(cfg, "the data section")
    if trained(cfg):
        expand(cfg, options)
        trace.note(cfg, "the recipe (engine/recipe.py)")
        cfg.optim_wrapper.type, cfg.optim_wrapper.amp = "SteadyOptimWrapper", autocast(cfg, amp)
        share_batch(cfg)
        fill_schedule(cfg)
        cfg.randomness = {**cfg.get("randomness", {}), "seed": seed, "diff_rank_seed": False}
    else:
        if launcher != "none":
            raise UserError(f"{path} tests an encoder as it is, in one process: leave out --launcher")
        RULES[TASK[cfg.task].group].check_test(cfg, data or path)
        cfg.head = cfg.head.format(neighbours=cfg.get("neighbours"), taps=cfg.get("probe", {}).get("taps"))
    name_run(cfg, data, checkpoint, work_dir, {"options": options, "amp": amp, "checkpoint": checkpoint})
    check_typed(cfg, str(path), ("train_dataloader.dataset",) if cfg.task == "pretrain" else ())
    check_ranges(cfg, str(path))
    if cfg.task == "pretrain" and (data or options):
        check_encoder(cfg.model.encoder)
    cfg.config_hash = config_hash(cfg)
    refuse_idle(cfg.to_dict(), options or {}, data)
    trace.note(cfg, "the command line")
    return Config(cfg.to_dict(), cfg_text="\n", filename="config.py")  # the name under which the runner dumps it


def settle(cfg: Config, make_data: Callable[[Config], None]) -> dict | None:
    """Fill what only the data and the encoder can tell.

    Args:
        make_data: sees that the data are there; called after the checkpoint was found, since nobody should wait for
            scenes to learn that it is missing.

    Returns:
        The encoder's `checkpoint.json`; None in pretraining.

    Raises:
        UserError: as `backbones.fill_encoder_parts` and `pretrain.fill`, a checkpoint of another method at its own
            place, or a mark that is left.
    """
    meta = take_encoder(cfg) if cfg.task != "pretrain" else None
    make_data(cfg)
    if cfg.data.kind == "coco":
        fill_limits(cfg, needed=True)
    if cfg.task == "pretrain":
        import pretrain

        pretrain.fill(cfg)
    elif TASK[cfg.task].classes:
        from recognition.finetune import fill

        fill(cfg, meta)
    settled(cfg)
    check_typed(cfg, cfg.run_name)  # of what was filled in, and of classes that are known by now
    return meta


def take_encoder(cfg: Config) -> dict:
    """Put the checkpoint's encoder into the configuration; returns its `checkpoint.json`."""
    method = dict(method=cfg.method, scale=cfg.get("pretrain_scale", cfg.scale), seed=cfg.seed)
    meta = backbones.fill_encoder_parts(cfg, cfg.checkpoint, drop_path_rate=cfg.get("drop_path_rate"), **method)
    if cfg.checkpoint_of_method and meta["method"] != cfg.method:
        raise UserError(
            f"{cfg.checkpoint} holds a {meta['method']} encoder, but this config is for {cfg.method}: name another "
            "folder with --checkpoint"
        )
    return meta


def heads(folder: Path) -> list[Path]:
    """The config files of a folder that serve the encoders of all methods."""
    return [path for path in sorted(folder.glob("*.py")) if "method" not in read(path)]


def locate(path: Path) -> tuple[Path, str | None]:
    """A config file, and the method that its name stands for where there is no file for that pair of head and method.

    `seg_configs/upernet_beit.py` is `seg_configs/upernet.py` with `--encoder beit`, `depth/configs/beit.py` is
    `depth/configs/depth.py` with it: the names under which records of any age know their runs. A folder that is not
    here is that of the checkout, so that a command works wherever it is given.
    """
    if not path.parent.is_dir() and (REPOSITORY / path).parent.is_dir():
        path = REPOSITORY / path
    if path.is_file():
        return path, None
    pairs = itertools.product(heads(path.parent), methods())
    found = next(((head, method) for head, method in pairs if path in pair_names(head, method)), None)
    return found or (path, None)  # the reader says that it is missing


def pair_names(head: Path, method: str) -> tuple[Path, Path]:
    """Where the settings of one pair of head and method may stand, beside the head's own file."""
    return head.with_name(f"{head.stem}_{method}.py"), head.with_name(f"{method}.py")


def pair_file(head: Path, method: str | None) -> Path | None:
    """The file of a pair of head and method, where there is one."""
    return next((path for path in pair_names(head, method) if path.is_file()), None) if method else None


def which_encoder(
    path: Path, encoder: str | Path | None, checkpoint: str | Path | None
) -> tuple[str | None, str | None]:
    """The method that a head's config is run for, None for a config that states its own; and the folder to take.

    Raises:
        UserError: a config that serves all encoders without one, one of a method with another's, or no such encoder.
    """
    stated = read(path)
    own = stated.get("method")
    if stated.get("task") == "pretrain":
        if encoder is not None:
            raise UserError(
                f"{path} trains an encoder and takes none: leave out --encoder (--checkpoint is its parent)"
            )
        return None, checkpoint and str(checkpoint)
    if encoder in BASELINES and own is None:
        return str(encoder), None
    if encoder is not None and str(encoder) not in methods():
        if checkpoint is not None and str(checkpoint) != str(encoder):
            raise UserError("--encoder and --checkpoint name two folders: give one of them")
        checkpoint = checkpoint_of(encoder)
        encoder = method_in(checkpoint)
        own = None if own is None else encoder  # any encoder that is named in full is taken, and recorded as its own
    if own is not None:
        if encoder is not None and encoder != own:
            raise UserError(f"{path} is for {own}: give the head's own file --encoder {encoder}")
        return None, checkpoint and str(checkpoint)
    if encoder is None and checkpoint is None:
        raise UserError(f"{path} serves the encoders of all methods: name one with --encoder NAME or FOLDER")
    return str(encoder or method_in(checkpoint)), checkpoint and str(checkpoint)


def method_in(folder: str | Path) -> str:
    """The method whose encoder a checkpoint folder holds; by its name, where it is one that a pretraining will fill."""
    if Path(folder).is_dir():
        return backbones.read_checkpoint(folder)["method"]
    place = parse_checkpoint(folder)
    if place is None:
        raise UserError(backbones.missing_checkpoint_message(folder))
    return place.method


def task_of(cfg: Config, path: Path) -> str:
    """The configuration's task. UserError for an unknown one."""
    if cfg.get("task") not in TASK:
        raise UserError(f"{path}: unknown task {cfg.get('task')!r}{did_you_mean(str(cfg.get('task')), TASK)}")
    return cfg.task


def name_run(
    cfg: Config, data: str | None, checkpoint: str | None, work_dir: str | Path | None, departures: dict[str, Any]
) -> None:
    """Say which run this is: its encoder, its protocol and its folder.

    A run that departs from the study's own settings must not be taken for the study's cell: its folder's name gets a
    hash of the departures. A run is named after data that an overlay brought; a scale's own data need no name.
    """
    scale, seed = cfg.scale, cfg.seed
    place = place_of(scale, None if data is None or cfg.data.get("scenes_root") else cfg.data.name)
    # The encoder to fine-tune; in pretraining, the parent of a second stage.
    source = cfg.get("parent") if cfg.task == "pretrain" else None if cfg.method in BASELINES else cfg.method
    if source or checkpoint:
        cfg.checkpoint_of_method = checkpoint is None
        # A second form of a published protocol fine-tunes the same encoders as the first.
        cfg.checkpoint = checkpoint or str(pretraining(cfg.get("pretrain_scale", scale), source, seed).checkpoint)
        own = pretraining(place, cfg.method, seed).checkpoint
        if checkpoint and cfg.task != "pretrain" and own.resolve() == Path(checkpoint).resolve():
            departures = {**departures, "checkpoint": None}
    suffix = f"-{digest(departures)[:8]}" if any(departures.values()) else ""
    cfg.work_dir = str(work_dir or RunPath(place, cfg.task, cfg.method, seed, suffix).folder)
    cfg.run_name = f"{cfg.task} {cfg.method} seed {seed}"
    if cfg.task != "pretrain":
        chosen = {*SEARCHED, *PLACEMENT}  # by a search, or of no effect on what is computed
        cfg.departures = sorted(f"{k}={v}" for k, v in (departures["options"] or {}).items() if k not in chosen)
        rules = RULES.get(TASK[cfg.task].group)
        parts = (cfg.data.name, cfg.task.replace("_", "-"), rules and rules.variant(cfg), pixels(cfg), scale, "v1")
        cfg.protocol = "-".join(filter(None, parts))


def pixels(cfg: Config) -> str | None:
    """The size of images that are trained on, as part of a protocol: "512", or "96x128", the height first.

    None where the data state none: then each encoder sees images of its own size, which is part of what it is.
    """
    size = cfg.data.get("size") if trained(cfg) or TASK[cfg.task].group == "probe" else None
    return size and "x".join(map(str, dict.fromkeys(size)))


def check_encoder(encoder: Mapping[str, Any]) -> None:
    """UserError for an encoder that timm does not know, or an argument that it does not take; costs no arithmetic."""
    with torch.device("meta"):
        backbones.build_encoder(encoder["name"], dict(encoder.get("kwargs", {})))


def trained(cfg: Config) -> bool:
    """Whether a configuration trains something; otherwise it tests an encoder as it is."""
    return "train_dataloader" in cfg
