"""From the outcome of an image-level test to its result record, and to the lines that a person reads."""

from typing import Any

from mmengine.config import Config

from backbones import encoder_flops, parameter_count
from backbones.towers import Features, Towers
from engine.errors import UserError
from recognition.tasks import Outcome
from study.record import costs, identity


def evaluation_record(
    cfg: Config, part: Towers | Features, outcome: Outcome, wall: float, command: str
) -> dict[str, Any]:
    """The record of a finished test.

    Args:
        cfg: from `study.configure.load_config`.
        part: what was tested.
        wall: seconds that the test took, with the reading of its images.
        command: the command line that repeats it.

    Raises:
        UserError: the primary measure of the configuration is none of the outcome's.
    """
    names = [measure.name for measure in outcome.measures]
    if cfg.primary not in names:
        raise UserError(f"primary measure {cfg.primary!r} is none of {', '.join(names)}: choose one of these")
    metrics = {
        measure.name: {
            "value": round(measure.value, 6), "unit": "%", "direction": "up", "primary": measure.name == cfg.primary,
            "low": round(measure.low, 6), "high": round(measure.high, 6), "chance": round(measure.chance, 6),
        }
        for measure in outcome.measures
    }  # fmt: skip
    flops = encoder_flops(part.meta["encoder"], (part.size, part.size))
    record = identity(cfg, part.meta, command)
    return {
        **record,
        "status": "ok",
        "error": None,
        "metrics": metrics,
        "samples": [],
        "cost": costs(part.meta, wall, outcome.pace, parameter_count(part.model), flops),
        "settings": {**record["settings"], **outcome.settings},
    }


def table(record: dict[str, Any]) -> str:
    """The record's metrics, one in a line, each with its interval and what guessing gives."""
    return "\n".join(
        f"{name:<24} {m['value']:5.1f} %  [{m['low']:5.1f}, {m['high']:5.1f}]  chance {m['chance']:.1f} %"
        for name, m in record["metrics"].items()
    )
