"""A finished run tested again, on its own data or on others, from its folder alone."""

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from datasets.fill import fill_data
from datasets.sections import Coco, Seg, read_section
from engine.catalogue import TASK
from engine.config import OF_THE_DATA, hashed_content, read
from engine.errors import UserError
from engine.files import writing
from engine.panels import panel_files
from engine.provenance import code_version, hardware, versions
from engine.run_folder import check_unfinished, flatten, occupied, open_run
from engine.run_path import RUNS
from reports.records import write_record
from study.finished import Finished, without_training
from study.record import pick_metrics
from study.run import check_predicts, details_of, ensure_data, headline, watch_test
from study.runner import SwitchedRunner
from study.settings import tested_on


def test_again(
    folder: str | Path,
    command: str,
    data: str | Path | None = None,
    work_dir: str | Path | None = None,
    save_predictions: bool = False,
) -> str:
    """Test a finished run's model again, write the record of it, and say what came of it and where it lies.

    The model sees images as in the run: by the same pipeline, at the same size.

    Args:
        folder: of the run.
        command: the command line that repeats this test, for the record.
        data: a data overlay; only its test split is read. The run's own data by default.
        work_dir: for the new record; by default `retest_folder`.
        save_predictions: see `datasets.predictions`.

    Raises:
        UserError: no finished run, data that its model does not fit, a folder that holds a record, no test images.
    """
    run = Finished.read(folder)
    cfg = copy.deepcopy(run.cfg)
    notes = [] if data is None else take_data(cfg, Path(data), run)
    cfg = without_training(cfg)
    if save_predictions:
        check_predicts(cfg)
    cfg.work_dir = str(work_dir or retest_folder(run.folder, cfg.data.name))
    print("\n".join([f"{cfg.run_name} of {run.folder}  data {cfg.data.name}  -> {cfg.work_dir}", *notes]), flush=True)
    check_unfinished(Path(cfg.work_dir))
    ensure_data(cfg)
    with occupied(cfg.work_dir):
        open_run(cfg, flatten(hashed_content(cfg)), command)
        measured, details = measure(run, cfg, save_predictions)
        record = retested(run, cfg, measured, command, details)
        write_record(cfg.work_dir, record)
    return "\n".join([headline(record), *comparison(run, record), f"record: {cfg.work_dir}/result.json"])


def measure(run: Finished, cfg: Config, save_predictions: bool) -> tuple[dict[str, float], dict[str, Any] | None]:
    """Test the run's model under `cfg`; returns what the evaluator measured, and what it knows class by class."""
    with writing(Path(cfg.work_dir, "config.py")), DefaultScope.overwrite_default_scope(cfg.default_scope):
        runner = SwitchedRunner.from_cfg(cfg)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        run.fill(runner.model)
        if len(runner.test_dataloader.dataset) == 0:
            raise UserError(f"the test set of {cfg.data.name} is empty: check its folder and split")
        watch_test(cfg, runner, save_predictions)
        return runner.test(), details_of(runner)


def retested(
    run: Finished, cfg: Config, measured: dict[str, float], command: str, details: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The record of the test: the run's own, with what this test measured and where."""
    other = cfg.data.name != run.cfg.data.name
    protocol = run.record["protocol"]
    return {
        **{key: value for key, value in run.record.items() if key != "details"},  # of the first test, class by class
        **({"details": details} if details else {}),
        "dataset": cfg.data.name,
        "tested_on": tested_on(cfg),
        # Trained on one set and tested on another is no value of either set's own protocol.
        "protocol": f"{cfg.data.name}-from-{protocol}" if other else protocol,
        "metrics": pick_metrics(cfg.metrics, measured, cfg.work_dir),
        "samples": panel_files(cfg.work_dir),
        "command": command,
        "code_version": code_version(),
        "versions": versions(),
        "hardware": hardware(),
    }


def comparison(run: Finished, record: dict[str, Any]) -> list[str]:
    """Whether a test on the run's own data gave its record's numbers, in a line; none on other data."""
    if record["protocol"] != run.record["protocol"]:
        return []
    before, now = ({name: m["value"] for name, m in r["metrics"].items()} for r in (run.record, record))
    if changed := [f"{name} {before[name]} -> {now[name]}" for name in now if now[name] != before.get(name)]:
        return [f"not equal to {run.folder}/result.json: {', '.join(changed)} (other images, versions or hardware?)"]
    return [f"equal to {run.folder}/result.json in every digit"]


def take_data(cfg: Config, path: Path, run: Finished) -> list[str]:
    """Put the test set of a data overlay into a run's configuration; returns what a person should know of it.

    Raises:
        UserError: no data section, another kind, other classes, or another range of depths.
    """
    overlay = read(path).to_dict()
    if unread := sorted({*overlay} - {*OF_THE_DATA}):
        raise UserError(f"{path} states {unread[0]!r}, but a finished run is tested as it is: state data alone")
    before = read_section(cfg.data.to_dict(), f"{run.folder}/config.py")
    stated = overlay.get("data")
    if isinstance(before, Coco) and isinstance(stated, dict):  # the model's classes, whichever files are there
        stated = {"classes": list(cfg.test_dataloader.dataset.metainfo.classes), **stated}
    now = read_section(stated, str(path))
    check_fits(before, now, cfg, str(path))
    cfg.data = stated
    cfg.custom_hooks = [hook for hook in cfg.get("custom_hooks", []) if hook.type != "PanelHook"]
    fill_data(cfg, TASK[cfg.task].kinds)  # where the run's own values stand, no mark is left to be filled
    if before.size == now.size:
        return []
    return [f"note: {path} says size {tuple(now.size)}; images are seen at the run's own {tuple(before.size)}"]


def check_fits(before: Any, now: Any, cfg: Config, path: str) -> None:
    """UserError where a model of the data section `before` cannot be tested on `now`."""
    if type(before) is not type(now):
        raise UserError(f"{path} is of kind {now.kind!r}, but the run's data are of kind {before.kind!r}")
    if isinstance(now, Seg | Coco):
        dataset = cfg.test_dataloader.dataset
        known = list(dataset.classes if isinstance(now, Seg) else dataset.metainfo.classes)
        if list(now.classes) != known:
            raise UserError(f"{path} has the classes {', '.join(now.classes)}, but the run learned {', '.join(known)}: "
                            "a model is tested on the classes that it knows, in their order")  # fmt: skip
    elif getattr(now, "max_depth", None) != getattr(before, "max_depth", None):
        raise UserError(f"{path} scores depths up to {now.max_depth} m, but the run's model gives up to "
                        f"{before.max_depth} m: state max_depth={before.max_depth}")  # fmt: skip


def retest_folder(run: Path, data: str) -> Path:
    """Where the record of a test of a run goes: apart from the scales' own runs, whose reports it is none of."""
    inside = run.resolve().is_relative_to(RUNS.resolve())
    return RUNS / "tests" / (run.resolve().relative_to(RUNS.resolve()) if inside else run.name) / data
