"""The cells of a study: what each needs, where it lies and how it is configured."""

import itertools
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from engine.catalogue import TASK, TESTS
from engine.errors import UserError
from engine.provenance import digest
from engine.run_path import RunPath, trial_folder
from reports.records import read_record
from study.configure import load_config

# Tests of frozen encoders: one config for all methods, and no settings to search for.
IMAGE_TASKS = tuple(task for task in TESTS if TASK[task].study)
TRIAL_SHARE = 1 / 3  # of the iterations: the same saving for every method
TRIAL_SEED = 1000  # fine-tuning seed of the trials: no reported seed takes part in choosing its own settings


@dataclass
class Cell:
    """One run of a study.

    Attributes:
        method: the encoder, as a part of the folder's name: its method's id alone where the suite pretrains it, that id
            and more where the weights are another's.
        encoder: the checkpoint folder to fine-tune or to test, or a baseline that has none; None in pretraining.
        needs: files that other runs leave when they have finished.
        point: learning rate and layer decay of a trial, None for the others.
        trials: the trials whose validation scores decide this run's settings.
        data: a data overlay; None: the scale's own data. place: part of the folder, of scale and data.
        options: configuration keys in which the run departs from its file, but for what trials decide.
        parent: in pretraining, the checkpoint folder of its parent; None: the method's own place tells.
        label: what tables call its encoder; None: what its checkpoint says.
    """

    scale: str
    task: str
    method: str
    seed: int
    point: dict[str, float] | None = None
    encoder: Path | str | None = None
    needs: list[Path] = field(default_factory=list)
    trials: list["Cell"] = field(default_factory=list)
    grid: dict | None = None
    data: str | None = None
    place: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    label: str | None = None
    parent: Path | None = None

    def __post_init__(self) -> None:
        self.place = self.place or self.scale

    @property
    def name(self) -> str:
        """What a person calls this run."""
        run = f"{self.task} {self.method}" + (f" on {self.place}" if self.place != self.scale else "")
        if self.point:
            return f"trial {run} " + " ".join(f"{k} {v:g}" for k, v in self.point.items())
        return f"{run} seed {self.seed}"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        suffix = f"-{digest(self.options)[:8]}" if self.options and self.task != "pretrain" else ""
        if self.point:
            return trial_folder(self.place, self.task, self.method, self.point, suffix)
        return RunPath(self.place, self.task, self.method, self.seed, suffix).folder

    @property
    def outcome(self) -> Path:
        """The file whose presence means that the run has ended."""
        return self.folder / ("checkpoint/checkpoint.json" if self.task == "pretrain" else "result.json")

    def status(self) -> str:
        """Say "ok", "failed" or "open".

        Raises:
            UserError: a result record that is not whole.
        """
        if not self.outcome.is_file():
            return "open"
        return "ok" if self.task == "pretrain" else read_record(self.outcome)["status"]

    @property
    def path(self) -> str:
        """The config file."""
        return TASK[self.task].config.format(method=self.method.partition("-")[0])

    @property
    def of_images(self) -> bool:
        """Whether this run tests an encoder as it is, on images as a whole or by a dense probe."""
        return self.task in IMAGE_TASKS

    @property
    def words(self) -> dict[str, Any]:
        """Arguments of `load_config`, beside those that every cell has."""
        stated = {"data": self.data, "name": self.label, "checkpoint": self.parent}
        return {key: value for key, value in stated.items() if value is not None}

    def overrides(self) -> dict[str, Any]:
        """The configuration keys in which this run departs from its file; of a final run only once its trials ended."""
        if self.point:
            encoder = self.encoder or self.method
            whole = load_config(self.path, self.scale, encoder=encoder, options=self.options, **self.words)
            iterations = round(TRIAL_SHARE * whole.train_cfg.max_iters)
            return {**self.options, "role": "trial", "train_cfg.max_iters": iterations, **as_options(self.point)}
        chosen = as_options(choose(self.trials, self.grid)["chosen"]) if self.trials else {}
        return {**self.options, **chosen}

    @property
    def command(self) -> str:
        """The command that repeats this cell alone."""
        script = "tools/test.py" if self.of_images else "tools/train.py"
        words = [script, self.path, "--scale", self.scale, "--seed", str(self.run_seed)]
        words += ["--encoder", str(self.encoder)] if self.encoder else []
        words += [word for key, value in self.words.items() for word in (f"--{key}", str(value))]
        if self.task == "pretrain" and (
            self.options or self.data
        ):  # its folder is named by the study, where its fine-tunings look
            words += ["--work-dir", str(self.folder)]
        options = [f"{key}={typed(value)}" for key, value in self.overrides().items()]
        return shlex.join(["python", *words, *(["--cfg-options", *options] if options else [])])

    @property
    def run_seed(self) -> int:
        """The seed the run is started with."""
        return TRIAL_SEED if self.point else self.seed

    def config(self) -> Config:
        """The run's configuration; an unfinished run resumes, a test begins again."""
        if self.of_images:
            named = {"encoder": self.encoder, "work_dir": self.folder, **self.words}
            return load_config(self.path, self.scale, self.seed, **named)
        selection = {"selection": choose(self.trials, self.grid)} if self.trials else {}
        return load_config(
            self.path,
            scale=self.scale,
            seed=self.run_seed,
            encoder=self.encoder,
            work_dir=self.folder,
            options={**selection, **self.overrides()},
            resume=True,
            **self.words,
        )


def typed(value: Any) -> str:
    """A value as `--cfg-options` reads it: lists without blanks."""
    return f"[{','.join(map(typed, value))}]" if isinstance(value, list | tuple) else str(value)


def as_options(point: dict[str, float]) -> dict[str, float]:
    """A grid point as configuration keys."""
    return {"optim_wrapper.optimizer.lr": point["lr"], "optim_wrapper.paramwise_cfg.layer_decay": point["layer_decay"]}


def choose(trials: list[Cell], grid: dict) -> dict:
    """The grid point with the best primary metric on validation images; the first of equals.

    Raises:
        UserError: no trial of the grid succeeded.
    """
    scored, metric, up = [], None, True
    for trial in trials:
        record = read_record(trial.outcome)
        value = None
        for name, entry in record["metrics"].items():
            if entry["primary"]:
                metric, up, value = f"val {name}", entry["direction"] == "up", entry["value"]
        scored.append({**trial.point, "value": value})
    usable = [s for s in scored if s["value"] is not None]
    if not usable:
        raise UserError(f"every trial below {trials[0].folder.parent} failed: see their result.json for the reasons")
    best = max(usable, key=lambda s: s["value"] if up else -s["value"])
    chosen = {key: best[key] for key in grid}
    return {"metric": metric, "grid": {k: list(v) for k, v in grid.items()}, "trials": scored, "chosen": chosen}


def points(grid: dict[str, tuple[float, ...]] | None) -> list[dict[str, float]]:
    """All combinations of the grid's values; none without a grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())] if grid else []
