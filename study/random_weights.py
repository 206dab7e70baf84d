"""Random weights, the floor of every comparison: drawn where they are missing, without any data."""

import time
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.registry import MODELS
from mmengine.runner import set_random_seed

from backbones import checkpoint_exists, save_checkpoint
from engine.catalogue import PRETRAIN
from engine.config import hashed_content
from engine.provenance import code_version, hardware, peak_memory_mib
from engine.run_folder import check_unfinished, flatten, occupied, open_run
from engine.runner import write_config
from study.configure import load_config
from study.first_stage import made_once

METHOD = "random"
NO_DATA = {"name": "none", "samples": 0}


def is_drawn(cfg: Config) -> bool:
    """Whether a pretraining only draws weights, so that its data need not exist."""
    return cfg.task == "pretrain" and cfg.model.type == "RandomInit" and not cfg.train_cfg.max_iters


def draw(cfg: Config, command: str) -> None:
    """Draw the encoder of a pretraining run that trains nothing, and leave its checkpoint.

    Args:
        cfg: from `study.configure.load_config`.
        command: the command line that repeats it, for run.json.
    """
    import pretrain  # noqa: F401  registers the method

    folder = Path(cfg.work_dir)
    check_unfinished(folder)
    with occupied(folder):
        open_run(cfg, flatten(hashed_content(cfg)), command)
        write_config(cfg, folder)
        started = time.perf_counter()
        set_random_seed(cfg.seed)  # as mmengine's runner does before it builds a model
        model = MODELS.build(cfg.model)
        meta = model.checkpoint_meta()
        meta["image"]["size"] = cfg.train_dataloader.dataset.size
        meta |= {"name": cfg.encoder_name} if "encoder_name" in cfg else {}
        meta |= {
            "method": cfg.method, "captions": None, "seed": cfg.seed, "scale": cfg.scale, "data": NO_DATA,
            "samples_seen": 0, "updates": 0, "config_hash": cfg.config_hash, "code_version": code_version(),
            "parent": None, "ledger": None,
            "cost": {"wall_s": round(time.perf_counter() - started, 3), "samples_per_s": 0.0,
                     "peak_memory_mib": peak_memory_mib(), "hardware": hardware()},
        }  # fmt: skip
        save_checkpoint(folder / "checkpoint", model.encoder, meta)


def draw_missing(cfg: Config) -> None:
    """Draw the suite's own random encoder where a task asks for it, `--encoder random`, and nobody has drawn it yet."""
    if cfg.method != METHOD or not cfg.get("checkpoint_of_method"):
        return
    checkpoint = Path(cfg.checkpoint)
    if is_main_process() and not checkpoint_exists(checkpoint):
        path, scale = PRETRAIN.config.format(method=METHOD), cfg.get("pretrain_scale", cfg.scale)
        with made_once(checkpoint, f"{cfg.run_name} needs {checkpoint}") as lock:
            if lock is not None:
                draw(load_config(path, scale, cfg.seed, work_dir=checkpoint.parent),
                     f"python tools/train.py {path} --scale {scale} --seed {cfg.seed}")  # fmt: skip
    barrier()
