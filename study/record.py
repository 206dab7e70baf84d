"""From a finished run to its result record."""

import math
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from backbones import encoder_flops, parameter_count
from backbones.patch_maps import PatchMaps
from backbones.towers import Features, Towers
from engine.catalogue import METHOD, family_of
from engine.errors import UserError
from engine.outcome import Outcome
from engine.panels import panel_files
from engine.provenance import code_version, hardware, peak_memory_mib, versions
from engine.resume import bare, resume_hook
from reports.migrations import UNKNOWN, VERSION
from reports.schema import SCHEMA
from study.settings import batch_of_process, legend, settings, tested_on


def pick_metrics(declared: dict[str, dict], measured: dict[str, float], place: str) -> dict[str, dict]:
    """Turn evaluator output into the record's metrics, in the declared order; one that came out as what its declaration
    calls `absent` (there was nothing to measure) is left out.

    Raises:
        UserError: a declared metric is missing or is not a finite number.
    """
    metrics = {}
    for name, spec in declared.items():
        value = measured.get(spec["source"])
        if value is not None and value == spec.get("absent"):
            continue
        if value is None or not math.isfinite(value):
            raise UserError(f"{place}: metric {name} came out as {value}; see curve.jsonl there for how training went")
        metrics[name] = {
            "value": round(float(value) * spec.get("factor", 1), 6),
            "unit": spec["unit"],
            "direction": spec["direction"],
            "primary": spec.get("primary", False),
        }
        for bound in ("low", "high", "chance"):  # where the evaluator gives them
            if f"{spec['source']}_{bound}" in measured:
                metrics[name][bound] = round(measured[f"{spec['source']}_{bound}"] * spec.get("factor", 1), 6)
    return metrics


PUBLISHED = "published"  # the scale, and the name of the data, of checkpoints that were not pretrained here


def failed_record(cfg: Config, meta: dict, error: str, command: str) -> dict[str, Any]:
    """The record of a run that ended with `error`."""
    return {**identity(cfg, meta, command), "status": "failed", "error": error, "metrics": {}, "samples": [],
            "cost": costs(meta, None, None, None)}  # fmt: skip


def result_record(
    cfg: Config,
    meta: dict,
    runner: Runner,
    measured: dict[str, float],
    flops: float | None,
    command: str,
    details: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of a finished run.

    Args:
        cfg: the run's whole configuration.
        meta: the encoder checkpoint's `checkpoint.json`.
        runner: the runner after training and testing.
        measured: what the test evaluator returned.
        flops: multiply-adds times two of the encoder for one test image, or None where it cannot be counted.
        command: the command line that made the run.
        details: what the test evaluator knows class by class; None where it tells nothing.
    """
    wall = resume_hook(runner).wall_seconds()
    seen = cfg.train_cfg.max_iters * batch_of_process(cfg) * runner.world_size
    parameters = sum(p.numel() for p in bare(runner.model).parameters())
    return {
        **identity(cfg, meta, command),
        "status": "ok",
        "error": None,
        "metrics": pick_metrics(cfg.metrics, measured, cfg.work_dir),
        "samples": panel_files(cfg.work_dir),
        "cost": costs(meta, wall, seen / wall if wall else None, parameters, flops),
        "settings": {**settings(cfg, meta, runner.world_size), "train_images": len(runner.train_dataloader.dataset)},
        **{key: told for key, told in (("details", details), ("legend", legend(cfg))) if told},
    }


def evaluation_record(
    cfg: Config, part: Towers | Features | PatchMaps, outcome: Outcome, wall: float, command: str
) -> dict[str, Any]:
    """The record of a finished test of a frozen encoder.

    Args:
        cfg: from `study.configure.load_config`.
        part: what was tested.
        wall: seconds that the test took, with the reading of its images.
        command: the command line that repeats it.

    Raises:
        UserError: the primary measure of the configuration is none of the outcome's.
    """
    size = tuple(cfg.data.size) if isinstance(part, PatchMaps) else (part.size, part.size)
    flops = encoder_flops(part.meta["encoder"], size)
    record = identity(cfg, part.meta, command)
    return {
        **record,
        "status": "ok",
        "error": None,
        "metrics": metrics_of(outcome, cfg),
        "samples": [],
        "cost": costs(part.meta, wall, outcome.pace, parameter_count(part.model), flops),
        "settings": {**record["settings"], **outcome.settings},
        **({"details": outcome.details} if outcome.details else {}),
    }


def metrics_of(outcome: Outcome, cfg: Config) -> dict[str, dict]:
    """The record's metrics of a test that came as measures.

    Raises:
        UserError: the primary measure of the configuration is none of the outcome's.
    """
    primary = cfg.get("primary") or next(name for name, spec in cfg.metrics.items() if spec.get("primary"))
    names = [measure.name for measure in outcome.measures]
    if primary not in names:
        raise UserError(f"primary measure {primary!r} is none of {', '.join(names)}: choose one of these")
    return {
        measure.name: {
            "value": round(measure.value, 6), "unit": measure.unit, "direction": measure.direction,
            "primary": measure.name == primary,
            **{bound: round(getattr(measure, bound), 6) for bound in ("low", "high", "chance")
               if getattr(measure, bound) is not None},
        }
        for measure in outcome.measures
    }  # fmt: skip


def identity(cfg: Config, meta: dict, command: str) -> dict[str, Any]:
    """What names a cell of the result table, and where it comes from."""
    method = meta["method"]
    known = METHOD.get(method)
    kind = known.reference if known else None
    selection = cfg.get("selection")
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "task": cfg.task,
        "protocol": cfg.protocol,
        "dataset": cfg.data.name,
        "split": "val" if cfg.role == "trial" else "test",
        "tested_on": tested_on(cfg),
        "scale": cfg.scale,
        "role": cfg.role,
        "name": cfg.get("encoder_name") or name_of(meta),
        "source": source_of(meta),
        "family": meta.get("family", family_of(method)),
        "method": method,
        "method_name": known.name if known else method,
        "captions": meta["captions"],
        "reference": kind is not None,
        "reference_kind": kind,
        "head": cfg.head,
        "seed": cfg.seed,
        "checkpoint": {"sha256": meta["sha256"]["encoder.safetensors"], "encoder": meta["encoder"]},
        "selection": selection.to_dict() if selection else None,
        "settings": settings(cfg, meta),
        "budget": budget(meta),
        "command": command,
        "config_hash": cfg.config_hash,
        "code_version": code_version(),
        "versions": versions(),
        "hardware": hardware(),
    }


def name_of(meta: dict) -> str:
    """The encoder's name: its checkpoint's, else its method's, or the architecture's where that says nothing."""
    known = METHOD.get(meta["method"])
    unnamed = known.name if known else meta["encoder"]["name"] if meta["method"] == "timm" else meta["method"]
    return meta.get("name") or unnamed


def source_of(meta: dict) -> str | None:
    """Where published weights are from; None for those that the suite trained."""
    return meta.get("source") or (UNKNOWN if meta["scale"] == PUBLISHED else None)


def budget(meta: dict) -> dict[str, Any]:
    """What pretraining saw; for a second stage also the stages before it, which are part of what its encoder cost.

    Of weights from elsewhere only what their checkpoint tells: a count of 0 means there that nobody counted.
    """
    data = {key: meta["data"][key] for key in ("name", "samples")}
    seen = {"pretrain_updates": meta["updates"], "pretrain_samples": meta["samples_seen"]}
    if meta["scale"] == PUBLISHED:
        seen = {key: count or None for key, count in seen.items()}
        data["name"] = UNKNOWN if data["name"] == PUBLISHED else data["name"]
    own = {**seen, "pretrain_data": data, "pretrain_scale": meta["scale"]}
    stages, parent = [], meta["parent"]
    while parent is not None:
        stages.append({"method": parent["method"], "samples": parent["samples_seen"], "wall_s": parent["wall_s"]})
        parent = parent["parent"]
    return {**own, "earlier_stages": stages} if stages else own


def costs(
    meta: dict, wall: float | None, pace: float | None, parameters: int | None, flops: float | None = None
) -> dict[str, Any]:
    """Pretraining cost from the checkpoint, fine-tuning cost from this process."""
    pretraining = meta["cost"]
    return {
        "pretrain_wall_s": pretraining["wall_s"],
        "pretrain_samples_per_s": pretraining["samples_per_s"],
        "finetune_wall_s": None if wall is None else round(wall, 2),
        "finetune_samples_per_s": None if pace is None else round(pace, 1),
        "peak_memory_mib": peak_memory_mib(),
        "parameters": parameters,
        "flops": flops,
    }


def table(record: dict[str, Any]) -> str:
    """The record's metrics, one in a line, each with its interval and what guessing gives."""
    return "\n".join(
        f"{name:<24} {shown(m, 'value')} {m['unit']}"
        + (f"  [{shown(m, 'low')}, {shown(m, 'high')}]" if "low" in m else "")
        + (f"  chance {shown(m, 'chance').strip()} {m['unit']}" if "chance" in m else "")
        for name, m in record["metrics"].items()
    )


def shown(metric: dict[str, Any], key: str) -> str:
    """A number of a metric with as many digits as its unit deserves: percentages one, all others three."""
    return f"{metric[key]:5.1f}" if metric["unit"] == "%" else f"{metric[key]:5.3f}"
