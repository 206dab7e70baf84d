"""The image-level tasks by name: which part of a checkpoint each needs, and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config

from backbones.towers import Features, Towers
from recognition.evaluation import Measure, nearest_neighbours, retrieval, zero_shot
from recognition.probing import probe


@dataclass(frozen=True)
class Outcome:
    """What a test gave.

    Attributes:
        measures: in the order of the record.
        settings: of the record, what was trained with; nothing where nothing was.
        pace: training samples per second, None where nothing was trained.
    """

    measures: list[Measure]
    settings: dict[str, Any] = field(default_factory=dict)
    pace: float | None = None


@dataclass(frozen=True)
class Task:
    """One image-level task.

    Attributes:
        part: opens what the task needs of a checkpoint folder.
        test: (configuration, opened part) -> outcome.
    """

    part: Callable[[str], Towers | Features]
    test: Callable[[Config, Any], Outcome]


TASKS = {
    "zero_shot": Task(Towers, lambda cfg, towers: Outcome(zero_shot(cfg.data, cfg.questions, towers))),
    "retrieval": Task(Towers, lambda cfg, towers: Outcome(retrieval(cfg.data, cfg.captions, towers, cfg.prefix))),
    "linear_probe": Task(Features, lambda cfg, features: Outcome(*probe(cfg.data, cfg.probe, features, cfg.seed))),
    "attentive_probe": Task(Features, lambda cfg, features: Outcome(*probe(cfg.data, cfg.probe, features, cfg.seed))),
    "knn": Task(Features, lambda cfg, features: Outcome(nearest_neighbours(cfg.data, cfg.neighbours, features))),
}
