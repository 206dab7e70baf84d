"""From the evaluators of the dense heads to the measures of a record."""

from collections.abc import Mapping

from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import DefaultScope
from mmseg.registry import METRICS

from engine.outcome import Measure


def evaluator(cfg: Config) -> BaseMetric:
    """`cfg.test_evaluator`, whatever scope an earlier run of the process left."""
    with DefaultScope.overwrite_default_scope("mmseg"):
        return METRICS.build(cfg.test_evaluator)


def measures(cfg: Config, metric: BaseMetric, bounds: Mapping[str, tuple[float, float]]) -> list[Measure]:
    """What `cfg.metrics` names of an evaluator that has seen every image.

    Args:
        bounds: 95 % intervals by the names that the evaluator gives, where there are some, in its own unit.
    """
    found = metric.compute_metrics(metric.results)
    result = []
    for name, spec in cfg.metrics.items():
        factor = spec.get("factor", 1)
        low, high = (factor * bound for bound in bounds[spec.source]) if spec.source in bounds else (None, None)
        result.append(
            Measure(name, factor * float(found[spec.source]), low, high, unit=spec.unit, direction=spec.direction)
        )
    return result
