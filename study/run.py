"""One run from a whole configuration: data, encoder, training, test, record.

`train.py`, `test.py` and `study.py` call it.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from safetensors.torch import save_file

import backbones
import engine.parts  # noqa: F401  registers loops, samplers and hooks
from datasets.colours import far_from
from datasets.predictions import PredictionHook
from engine.bars import BarOfTest
from engine.catalogue import BASELINES, TASK
from engine.config import hashed_content
from engine.distributed import set_up_processes
from engine.errors import UserError
from engine.files import atomic_path, write_json, writing
from engine.finite import faults, listed
from engine.resume import bare
from engine.run_folder import check_unfinished, flatten, occupied, open_run
from engine.testing import share_test
from reports.records import write_record
from study.baselines import run_baseline
from study.configure import settle, trained
from study.first_stage import take_parent
from study.random_weights import draw, draw_missing, is_drawn
from study.record import evaluation_record, result_record, table
from study.runner import SwitchedRunner, set_precision


def ensure_data(cfg: Config) -> None:
    """Generate the embedded scenes on first use; say what is missing where the data are the user's own."""
    data = cfg.data
    if data.get("scenes_root"):
        from scenes.attributes import ensure_classes
        from scenes.export import COUNTS_AT, ensure

        ensure(data.scenes_root, counts=COUNTS_AT.get(cfg.scale))
        if "attribute" in data:
            ensure_classes(data.root, data.attribute)
    elif not Path(data.root).is_dir():
        raise UserError(f"data set {data.name!r}: there is no folder {data.root}; check root in the data overlay")


def run(cfg: Config, command: str, sink: str | None = None, save_predictions: bool = False) -> dict | None:
    """Train, test and record one run; returns the record (None in pretraining, which leaves a checkpoint).

    Args:
        cfg: from `study.configure.load_config`.
        command: the command line that repeats the run, for the record.
        sink: where else the training curve goes: one of `engine.sinks.SINKS`.
        save_predictions: leave what the test predicts in the run's folder, see `datasets.predictions`.
    """
    if save_predictions:
        check_predicts(cfg)
    set_up_processes(cfg)
    set_precision(cfg)
    folder = Path(cfg.work_dir)
    check_unfinished(folder)
    if cfg.method in BASELINES:
        ensure_data(cfg)
        return run_baseline(cfg, command) if is_main_process() else None
    if is_drawn(cfg):
        return draw(cfg, command) if is_main_process() else None
    if cfg.task == "pretrain":
        take_parent(cfg)
    else:
        draw_missing(cfg)
    settings = flatten(hashed_content(cfg))
    meta = settle(cfg, ensure_data)
    if meta is not None:
        note_colours(cfg, meta)
    with occupied(folder) if is_main_process() else contextlib.nullcontext():
        if is_main_process():
            open_run(cfg, settings, command)
        barrier()
        return train(cfg, meta, command, sink, save_predictions)


@contextlib.contextmanager
def normalised() -> Iterator[None]:
    """Turn what batch normalisation says of a single value, which has no deviation, into a sentence."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "batch normalisation in training needs two values of each channel, and this batch gives one: raise "
            "train_dataloader.batch_size to 2 or more"
        ) from error


def note_colours(cfg: Config, meta: dict) -> None:
    """Say where the data's colours are far from those that the encoder's images are normalised by."""
    if is_main_process() and (sentence := far_from(cfg.data.root, meta["image"])):
        print(f"note: {sentence}", flush=True)


def train(cfg: Config, meta: dict | None, command: str, sink: str | None, save_predictions: bool) -> dict | None:
    """Train in the run's folder, which is this run's, then test and record; as `run` after the preparations."""
    folder = Path(cfg.work_dir)
    cfg.default_hooks.progress = dict(type="ProgressHook", interval=cfg.progress_interval)
    cfg.default_hooks.resume = dict(
        type="ResumeHook", interval=cfg.state_interval, minutes=cfg.state_minutes, resume=cfg.resume,
        config_hash=cfg.config_hash,
    )  # fmt: skip
    if sink is not None:
        cfg.default_hooks.sink = dict(type="SinkHook", name=sink)
    share_test(cfg)
    cfg.resume = False  # ResumeHook resumes; mmengine's own way replays data and restores no random state
    # The runner's own scope stays when it is gone, and is another's where two of one name begin in the same second.
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmengine")):
        with writing(folder / "config.py"):  # the runner dumps it, and makes a folder for its log
            runner = SwitchedRunner.from_cfg(cfg)
        # The test data are read now, so that a fault of theirs shows before hours of training.
        if cfg.task != "pretrain" and len(runner.test_dataloader.dataset) == 0:
            raise UserError(f"the test set of {cfg.data.name} is empty: check its folder and split")
        if meta is not None and is_main_process():
            write_json(folder / "ledger.json", bare(runner.model).backbone.ledger.document())
        watch_test(cfg, runner, save_predictions)
        with normalised():
            runner.train()
        if cfg.task == "pretrain":
            return None
        save_weights(runner, folder)
        return evaluate(cfg, runner, meta, command)


def check_predicts(cfg: Config, flag: str = "--save-predictions") -> None:
    """UserError for a task that predicts nothing of pixels, by the name of the flag that asks for it."""
    if TASK[cfg.task].group == "probe":
        raise UserError(f"{flag}: {cfg.task} keeps no model and no predictions; leave it out")
    if TASK[cfg.task].group != "dense":
        raise UserError(f"{flag}: {cfg.task} predicts no classes, boxes or depths of pixels; leave it out")


def watch_test(cfg: Config, runner: Runner, save_predictions: bool) -> None:
    """Let the runner's test show a bar, and leave its predictions where they are asked for."""
    runner.register_hook(BarOfTest())
    if save_predictions:
        runner.register_hook(PredictionHook(cfg.data, cfg.model))


def run_test(cfg: Config, command: str) -> dict:
    """Test a checkpoint as it is, by a dense probe or on images as a whole, and write the record; returns it.

    Args:
        cfg: from `study.configure.load_config`.
        command: the command line that repeats the test, for the record.
    """
    import probes
    import recognition
    from scenes.attributes import ensure_attributes

    if cfg.method in BASELINES:
        ensure_data(cfg)
        return run_baseline(cfg, command)
    check_unfinished(Path(cfg.work_dir))
    set_precision(cfg)
    task = {"probe": probes, "image": recognition}[TASK[cfg.task].group].task_file(cfg.task)
    draw_missing(cfg)
    part = task.PART(cfg.checkpoint)  # before the data: nobody should wait for scenes to learn that it is missing
    ensure_data(cfg)
    note_colours(cfg, part.meta)
    if cfg.data.get("scenes_root") and cfg.task == "zero_shot":
        ensure_attributes(cfg.data.root, cfg.data.split)
    with occupied(cfg.work_dir):
        open_run(cfg, flatten(hashed_content(cfg)), command)
        started = time.perf_counter()
        outcome = task.run(cfg, part)
        record = evaluation_record(cfg, part, outcome, time.perf_counter() - started, command)
        write_record(cfg.work_dir, record)
    return record


def save_weights(runner: Runner, folder: Path) -> None:
    """Write the fine-tuned model to `model.safetensors`. UserError where its weights are not finite."""
    if found := faults(bare(runner.model).state_dict()):
        raise UserError(f"{listed(found)} of {folder} stopped being finite: lower the learning rate and run it again")
    if is_main_process():
        weights = {name: value.contiguous().cpu() for name, value in bare(runner.model).state_dict().items()}
        with atomic_path(folder / "model.safetensors") as temporary:
            save_file(weights, temporary)


def evaluate(cfg: Config, runner: Runner, meta: dict, command: str) -> dict | None:
    """Test the runner's model and write the record."""
    measured = runner.test()
    if not is_main_process():
        return None
    size = cfg.data.get("size") or (cfg.test_dataloader.dataset.size,) * 2  # of classifiers, the encoder's own
    flops = backbones.flops_per_image(bare(runner.model).backbone, *size)
    record = result_record(cfg, meta, runner, measured, flops, command, details_of(runner))
    write_record(cfg.work_dir, record)
    return record


def details_of(runner: Runner) -> dict | None:
    """What the test evaluator knows class by class; None where it tells nothing."""
    told = (getattr(metric, "details", None) for metric in runner.test_evaluator.metrics)
    return next((details for details in told if details), None)


def headline(record: dict) -> str:
    """The record's metrics in one line."""
    return "  ".join(f"{name} {m['value']:.4g} {m['unit']}" for name, m in record["metrics"].items())


def finish(cfg: Config, command: str, sink: str | None = None, save_predictions: bool = False) -> str:
    """Run a configuration whatever it is, and say what came of it and where it lies.

    Args: as those of `run`.
    """
    if not trained(cfg):
        if save_predictions:
            check_predicts(cfg)
        return f"{table(run_test(cfg, command))}\nrecord: {cfg.work_dir}/result.json"
    record = run(cfg, command, sink, save_predictions)
    if cfg.task == "pretrain":
        return f"checkpoint: {cfg.work_dir}/checkpoint"
    return f"{headline(record)}\nrecord: {cfg.work_dir}/result.json" if record else "done; the first process records it"
