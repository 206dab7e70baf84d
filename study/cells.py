"""The cells of a study: which runs there are, what each needs, and how each is configured."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from engine.catalogue import NEED_TEXT, PRETRAIN, TASK, TASKS
from engine.errors import UserError
from engine.run_path import RunPath, trial_folder
from reports.records import read_record
from study.configure import load_config

# Tests of whole images: one config for all methods, and no settings to search for.
IMAGE_TASKS = tuple(task.id for task in TASKS if task.group == "image" and task.study)
TRIAL_SHARE = 1 / 3  # of the iterations: the same saving for every method
TRIAL_SEED = 1000  # fine-tuning seed of the trials: no reported seed takes part in choosing its own settings


@dataclass
class Cell:
    """One run of a study.

    Attributes:
        encoder: the checkpoint folder to fine-tune or to test; None in pretraining.
        needs: files that other runs leave when they have finished.
        point: learning rate and layer decay of a trial, None for the others.
        trials: the trials whose validation scores decide this run's settings.
    """

    scale: str
    task: str
    method: str
    seed: int
    point: dict[str, float] | None = None
    encoder: Path | None = None
    needs: list[Path] = field(default_factory=list)
    trials: list["Cell"] = field(default_factory=list)
    grid: dict | None = None

    @property
    def name(self) -> str:
        """What a person calls this run."""
        if self.point:
            return f"trial {self.task} {self.method} " + " ".join(f"{k} {v:g}" for k, v in self.point.items())
        return f"{self.task} {self.method} seed {self.seed}"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        if self.point:
            return trial_folder(self.scale, self.task, self.method, self.point)
        return RunPath(self.scale, self.task, self.method, self.seed).folder

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
        return TASK[self.task].config.format(method=self.method)

    @property
    def of_images(self) -> bool:
        """Whether this run tests an encoder on images as a whole."""
        return self.task in IMAGE_TASKS

    def overrides(self) -> dict[str, Any]:
        """The configuration keys in which this run departs from its file; of a final run only once its trials ended."""
        if self.point:
            whole = load_config(self.path, self.scale, encoder=self.method)
            iterations = round(TRIAL_SHARE * whole.train_cfg.max_iters)
            return {"role": "trial", "train_cfg.max_iters": iterations, **as_options(self.point)}
        return as_options(choose(self.trials, self.grid)["chosen"]) if self.trials else {}

    @property
    def command(self) -> str:
        """The command that repeats this cell alone."""
        encoder = f" --encoder {self.encoder}" if self.encoder else ""
        options = "".join(f" {key}={value}" for key, value in self.overrides().items())
        options = f" --cfg-options{options}" if options else ""
        script = "tools/test.py" if self.of_images else "tools/train.py"
        return f"python {script} {self.path} --scale {self.scale} --seed {self.run_seed}{encoder}{options}"

    @property
    def run_seed(self) -> int:
        """The seed the run is started with."""
        return TRIAL_SEED if self.point else self.seed

    def config(self) -> Config:
        """The run's configuration; an unfinished run resumes, a test begins again."""
        if self.of_images:
            return load_config(self.path, self.scale, self.seed, encoder=self.encoder, work_dir=self.folder)
        selection = {"selection": choose(self.trials, self.grid)} if self.trials else {}
        return load_config(
            self.path,
            scale=self.scale,
            seed=self.run_seed,
            encoder=self.encoder,
            work_dir=self.folder,
            options={**selection, **self.overrides()},
            resume=True,
        )


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


@dataclass
class Study:
    """All methods x tasks x seeds, each method with the same grid and the same number of trials.

    Attributes:
        anew: pretrain once for every seed, so that intervals hold the variance of pretraining too; otherwise each
            method is pretrained once and the seeds are those of fine-tuning. Random initialisation is always new.
    """

    scale: str
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    grid: dict[str, tuple[float, ...]] | None
    anew: bool = False

    def cells(self) -> list[Cell]:
        """Every run, pretraining first, in the order in which they should start.

        Raises:
            UserError: a method without a pretraining config.
        """
        for method in self.methods:
            if not Path(PRETRAIN.config.format(method=method)).is_file():
                known = sorted(p.stem for p in Path("pretrain/configs").glob("*.py"))
                raise UserError(f"unknown method {method!r}: choose among {', '.join(known)}")
        pretraining: dict[tuple[str, int], Cell] = {}
        for seed, method in itertools.product(self.seeds, self.methods):
            if seed == self.seeds[0] or self.anew or method == "random":
                self.add_pretraining(pretraining, method, seed)
        trials, finals, worded = [], [], {method for method in self.methods if has_text(method)}
        for method, task in itertools.product(self.methods, self.tasks):
            if task in NEED_TEXT and method not in worded:
                continue
            first = pretraining[method, self.seeds[0]]
            own = [
                Cell(self.scale, task, method, first.seed, point, first.folder / "checkpoint", [first.outcome])
                for point in ([] if task in IMAGE_TASKS else points(self.grid))
            ]
            trials += own
            for seed in self.seeds:
                if task in IMAGE_TASKS and not TASK[task].drawn and (method, seed) not in pretraining:
                    continue  # the same encoder as the first seed's, and nothing else differs
                source = pretraining.get((method, seed), first)
                needs = [source.outcome, *(trial.outcome for trial in own)]
                encoder = source.folder / "checkpoint"
                finals.append(
                    Cell(self.scale, task, method, seed, encoder=encoder, needs=needs, trials=own, grid=self.grid)
                )
        return [*pretraining.values(), *trials, *sorted(finals, key=lambda cell: cell.seed)]

    def add_pretraining(self, cells: dict[tuple[str, int], Cell], method: str, seed: int) -> Cell:
        """Add the pretraining of a method after that of its parent, which need not be one of the study's methods."""
        if (method, seed) not in cells:
            path = PRETRAIN.config.format(method=method)
            parent = load_config(path, self.scale).get("parent")
            needs = [self.add_pretraining(cells, parent, seed).outcome] if parent else []
            cells[method, seed] = Cell(self.scale, "pretrain", method, seed, needs=needs)
        return cells[method, seed]


def has_text(method: str) -> bool:
    """Whether a method's checkpoints hold a text tower."""
    return "text" in load_config(PRETRAIN.config.format(method=method)).model


def points(grid: dict[str, tuple[float, ...]] | None) -> list[dict[str, float]]:
    """All combinations of the grid's values; none without a grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())] if grid else []
