"""A study: encoders x data sets x tasks x seeds, each encoder with the same grid and the same number of trials."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

import backbones
from engine.catalogue import BASELINES, METHOD, NEED_TEXT, PRETRAIN, TASK, TASKS
from engine.errors import UserError
from engine.names import did_you_mean
from engine.provenance import digest
from engine.run_path import parse_run
from study.cells import IMAGE_TASKS, Cell, points
from study.configure import load_config
from study.encoders import RANDOM, Encoder, row, slug
from study.overlays import DataSet, read_overlay


@dataclass
class Study:
    """All encoders x data sets x tasks x seeds.

    Attributes:
        encoders: methods' names, whatever else `--encoder` takes, or rows.
        tasks: ids; empty: all of a study that the data serve.
        anew: pretrain once for every seed, so that intervals hold the variance of pretraining too; otherwise each
            method is pretrained once and the seeds are those of fine-tuning. Random initialisation is always new.
        data: overlays; empty: the scale's own data.
        options: configuration keys of every fine-tuning.
        pretrain_data: overlays; a method is pretrained on the first that it can learn from; empty: the scale's own.
        floor: compare with random weights of each architecture too.
        baselines: and with what needs no encoder.
    """

    scale: str
    encoders: tuple[str | Encoder, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    grid: Mapping[str, tuple[float, ...]] | None
    anew: bool = False
    data: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    pretrain_data: tuple[str, ...] = ()
    floor: bool = False
    baselines: bool = False

    def cells(self, alone: str | None = None) -> list[Cell]:
        """Every run, in the order in which they should start (`in_turn`).

        Args:
            alone: a run's folder; the others are left out where its name tells that the run is described without them.

        Raises:
            UserError: an encoder, a data set or a task that is none, or a task that no data set serves.
        """
        stated = dict(seeds=self.seeds, data=self.pretrain_data)
        encoders = [one if isinstance(one, Encoder) else row(one, **stated) for one in self.encoders]
        if named := parse_run(alone) if alone else None:
            task, method = named
            own = [one for one in encoders if method == (one.weights if task == "pretrain" else one.id)]
            few = self.cells_with(own, task)
            if any(cell.folder == Path(alone) for cell in few):
                return few  # else a parent, or random weights of some architecture, which the others tell
        return self.cells_with([*self.floors(encoders), *encoders] if self.floor else encoders)

    def cells_with(self, encoders: list[Encoder], only: str | None = None) -> list[Cell]:
        """The runs of some encoders, and what needs none; of one task alone, with its pretrainings."""
        first: dict[tuple[str, int], Cell] = {}
        for seed, encoder in itertools.product(self.seeds, encoders):
            if encoder.method and (seed == self.seeds[0] or self.anew or encoder.method == RANDOM):
                self.add_pretraining(first, encoder, seed)
        trials, finals = [], []
        for data in self.data_sets():
            tasks = [task for task in self.tasks_on(data) if only in (None, task)]
            for encoder, task in itertools.product(encoders, tasks):
                if task not in NEED_TEXT or has_text(encoder, self.scale):
                    own, runs = self.cells_of(encoder, task, data, first)
                    trials += own
                    finals += runs
            finals += self.baselines_on(data, tasks) if self.baselines else []
        check_options([*first.values(), *finals])
        return self.in_turn([*first.values()], [*trials, *finals])

    def in_turn(self, first: list[Cell], others: list[Cell]) -> list[Cell]:
        """An encoder's runs behind the pretraining of the next one, seed by seed: rows are finished from the beginning
        on, while something is always being pretrained. Encoders that need no pretraining come at once. Of an encoder's
        runs the attentive probe is the first: its pass over the images leaves the features that other tests read."""
        turn, place = ({key: n for n, key in enumerate(keys)} for keys in (self.seeds, [c.outcome for c in first]))

        def key(cell: Cell) -> tuple[int, float, bool]:
            later = cell.task != "attentive_probe"
            if cell.task == "pretrain":
                return turn[cell.seed], place[cell.outcome] - 1.5, later
            return turn[cell.seed], next((place[path] for path in cell.needs if path in place), -2), later

        return sorted([*first, *others], key=key)

    def cells_of(
        self, encoder: Encoder, task: str, data: DataSet, first: dict[tuple[str, int], Cell]
    ) -> tuple[list[Cell], list[Cell]]:
        """The trials and the final runs of one encoder on one task.

        Args:
            first: the pretrainings by (`Encoder.weights`, seed).
        """
        options = {} if task in IMAGE_TASKS else {**self.options, **encoder.options}
        common = dict(data=data.overlay, place=data.place(self.scale), options=options, label=encoder.name)
        source = first.get((encoder.weights, self.seeds[0]))
        own = []
        for point in [] if task in IMAGE_TASKS else points(self.grid):
            needs = [source.outcome] if source else []
            own.append(Cell(self.scale, task, encoder.id, self.seeds[0], point, weights(encoder, source), needs,
                            **common))  # fmt: skip
        finals = []
        for seed in self.seeds:
            drawn = task not in IMAGE_TASKS or TASK[task].drawn
            if seed != self.seeds[0] and not drawn and (encoder.weights, seed) not in first and not encoder.by_seed:
                continue  # the same encoder as the first seed's, and nothing else differs
            made = first.get((encoder.weights, seed), source)
            needs = [cell.outcome for cell in ([made] if made else []) + own]
            finals.append(Cell(self.scale, task, encoder.id, seed, encoder=weights(encoder, made, seed), needs=needs,
                               trials=own, grid=self.grid, **common))  # fmt: skip
        return own, finals

    def add_pretraining(self, cells: dict[tuple[str, int], Cell], encoder: Encoder, seed: int) -> Cell:
        """Add the pretraining of a method after that of its parent, which need not be one of the study's encoders."""
        key = (encoder.weights, seed)
        if key not in cells:
            data = read_overlay(encoder.data) if encoder.data else DataSet()
            stated = load_config(PRETRAIN.config.format(method=encoder.method), self.scale, data=encoder.data)
            parent = None
            if name := {**stated.to_dict(), **encoder.recipe}.get("parent"):
                overlays = tuple(dict.fromkeys([encoder.data, *self.pretrain_data])) if encoder.data else ()
                parent = self.add_pretraining(cells, row(name, data=overlays), seed)
            cell = Cell(self.scale, "pretrain", encoder.weights, seed, options=encoder.recipe, data=data.overlay,
                        place=data.place(self.scale))  # fmt: skip
            cell.needs = [parent.outcome] if parent else []
            cell.parent = parent.folder / "checkpoint" if parent and encoder.data else None
            cell.label = encoder.name if encoder.recipe or encoder.data else None
            cells[key] = cell
        return cells[key]

    def data_sets(self) -> list[DataSet]:
        """What its overlays bring. UserError for two of one name and kind, whose runs would share their folders."""
        found = [read_overlay(overlay) for overlay in self.data]
        named = [(data.name, data.kind) for data in found]
        if twice := next((pair for pair in named if named.count(pair) > 1), None):
            raise UserError(f"two overlays have data {twice[0]!r} of kind {twice[1]!r}: give each a name of its own")
        return found or [DataSet()]

    def tasks_on(self, data: DataSet) -> list[str]:
        """Its tasks on a data set. UserError for one that is none, or that no data set serves."""
        for task in self.tasks:
            if task not in TASK or TASK[task].study is None:
                known = [one.id for one in TASKS if one.study]
                raise UserError(f"unknown task {task!r}{did_you_mean(task, known)}: choose among {', '.join(known)}")
            if not any(one.serves(task) for one in self.data_sets()):
                kinds = " or ".join(map(repr, TASK[task].kinds))
                raise UserError(f"{task} needs data of kind {kinds}, which none of {', '.join(self.data)} is")
        asked = self.tasks or tuple(task.id for task in TASKS if task.study == "always")
        return [task for task in asked if data.serves(task)]

    def floors(self, encoders: list[Encoder]) -> list[Encoder]:
        """Random weights of each architecture that has none among the encoders."""
        own = built(row(RANDOM), self.scale)["encoder"]
        there = [built(one, self.scale)["encoder"] for one in encoders if one.method == RANDOM]
        found = []
        for meta in (built(one, self.scale) for one in encoders):
            encoder = meta["encoder"]
            if encoder in there:
                continue
            there.append(encoder)
            found.append(row(RANDOM) if encoder == own else random_weights(meta))
        return found

    def baselines_on(self, data: DataSet, tasks: list[str]) -> list[Cell]:
        """What needs no encoder, once for each of the tasks that has such a thing."""
        return [
            Cell(self.scale, task, method, self.seeds[0], encoder=method, data=data.overlay,
                 place=data.place(self.scale))
            for task in tasks
            for method in BASELINES
            if TASK[task].group in ("dense", "probe") and METHOD[method].baseline in TASK[task].kinds
        ]  # fmt: skip

    @staticmethod
    def data_of(cells: list[Cell]) -> list[Config]:
        """A configuration for each of the data sets that unfinished cells read."""
        reading = [cell for cell in cells if cell.status() != "ok" and not is_drawn(cell)]
        return [load_config(cell.path, cell.scale, encoder=cell.encoder, **cell.words)
                for cell in {(cell.data, cell.scale): cell for cell in reversed(reading)}.values()]  # fmt: skip


def check_options(cells: list[Cell]) -> None:
    """Read each task's configuration with each set of options once. UserError for a name or a value that none takes,
    before anything runs."""
    for cell in {(cell.path, cell.data, repr(cell.options)): cell for cell in cells if cell.options}.values():
        try:
            load_config(cell.path, cell.scale, encoder=cell.encoder, options=cell.options, **cell.words)
        except UserError as error:
            raise UserError(f"{cell.task}: {error}") from None


def is_drawn(cell: Cell) -> bool:
    """Whether a cell only draws random weights, and reads no data."""
    return cell.task == "pretrain" and cell.method.partition("-")[0] == RANDOM


def weights(encoder: Encoder, made: Cell | None, seed: int | None = None) -> Any:
    """The checkpoint folder of an encoder, whose pretraining is `made`; that of a seed, where each has its own."""
    return encoder.by_seed.get(seed, encoder.folder) if made is None else made.folder / "checkpoint"


def stated_by(encoder: Encoder, scale: str) -> Config:
    """The configuration of an encoder's pretraining."""
    path = PRETRAIN.config.format(method=encoder.method)
    return load_config(path, scale, data=encoder.data, options=encoder.recipe)


def has_text(encoder: Encoder, scale: str) -> bool:
    """Whether an encoder comes with a text tower."""
    if encoder.method:
        return "text" in stated_by(encoder, scale).model
    return backbones.read_checkpoint(encoder.folder)["text"] is not None


def built(encoder: Encoder, scale: str) -> dict[str, Any]:
    """The architecture and the image constants of an encoder, as checkpoint.json has them."""
    if encoder.folder:
        meta = backbones.read_checkpoint(encoder.folder)
        return {"encoder": meta["encoder"], "image": meta["image"]}
    cfg = stated_by(encoder, scale)
    stated = cfg.model.data_preprocessor
    mean, std = stated.get("mean", backbones.IMAGENET_MEAN), stated.get("std", backbones.IMAGENET_STD)
    encoder_of = {"name": cfg.model.encoder.name, "kwargs": dict(cfg.model.encoder.get("kwargs", {}))}
    size = cfg.train_dataloader.dataset.size
    return json.loads(json.dumps({"encoder": encoder_of, "image": {"mean": mean, "std": std, "size": size}}))


def random_weights(meta: dict[str, Any]) -> Encoder:
    """Random weights of an architecture, seen with the same image constants."""
    encoder, image = meta["encoder"], meta["image"]
    id = f"{RANDOM}-{slug(encoder['name'])}-{digest(meta)[:8]}"
    recipe = {"model.encoder._delete_": True, "model.encoder.name": encoder["name"]}
    recipe |= {f"model.encoder.kwargs.{key}": value for key, value in encoder["kwargs"].items()}
    recipe |= {f"model.data_preprocessor.{key}": image[key] for key in ("mean", "std")}
    recipe |= {"train_dataloader.dataset.size": image["size"]}
    return Encoder(id, RANDOM, None, f"random weights ({encoder['name']})", id, {}, recipe)
