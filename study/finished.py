"""A finished run of a fine-tuned model, read back: its configuration, its record and its model.

The folder is enough. What the encoder is stands in the record, and its weights are in `model.safetensors` with all
others, so neither the checkpoint nor the training images need to be there any more.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

import engine.parts  # noqa: F401  registers what configurations name
from backbones import load_exactly
from engine.config import read
from engine.errors import UserError
from reports.records import read_record

CONFIG, RECORD, WEIGHTS = "config.py", "result.json", "model.safetensors"
# What only training reads; without it nothing looks for training images.
TRAINING = ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "val_dataloader", "val_cfg",
            "val_evaluator")  # fmt: skip
TRAINING_HOOKS = ("progress", "resume", "sink")


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        folder: of the run.
        cfg: its whole configuration as it trained, but that the encoder is built by its architecture, without a
            checkpoint folder.
        record: its result record, in the current version.
    """

    folder: Path
    cfg: Config
    record: dict[str, Any]

    @classmethod
    def read(cls, folder: str | Path) -> "Finished":
        """Read a run's folder.

        Raises:
            UserError: a file is missing or damaged, the run failed, or it trained no model.
        """
        folder = Path(folder)
        for name in (RECORD, CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder} is not a finished run of a fine-tuned model: it has no {name}; name the folder in which "
                    "tools/train.py left that file"
                )
        record, cfg = read_record(folder / RECORD), read(folder / CONFIG)
        if record["status"] != "ok":
            raise UserError(f"{folder} failed ({record['error']}): run it again")
        if cfg.get("config_hash") != record["config_hash"]:
            raise UserError(f"{folder}: {CONFIG} is not the configuration that {RECORD} is of; copy the run again")
        backbone = copy.deepcopy(cfg.model.backbone)
        backbone.pop("checkpoint", None)
        cfg.model.backbone = {**backbone, "architecture": record["checkpoint"]["encoder"]}
        return cls(folder, cfg, record)

    def fill(self, model: nn.Module) -> nn.Module:
        """The run's weights in a model of its configuration; UserError where they do not fit or are damaged."""
        path = self.folder / WEIGHTS
        try:
            state = load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path} is damaged ({error}): copy or run it again") from None
        load_exactly(model, state, what=str(path))
        return model

    def model(self) -> nn.Module:
        """The run's model, in evaluation mode."""
        with DefaultScope.overwrite_default_scope(self.cfg.get("default_scope", "mmengine")):
            return self.fill(MODELS.build(self.cfg.model)).eval()


def without_training(cfg: Config) -> Config:
    """A copy of a run's configuration that can only test."""
    cfg = copy.deepcopy(cfg)
    for key in TRAINING:
        cfg.pop(key, None)
    for name in TRAINING_HOOKS:
        cfg.default_hooks.pop(name, None)
    cfg.launcher, cfg.resume = "none", False
    return cfg
