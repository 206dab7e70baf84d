"""Shared fixtures. `compat` comes first, as in every entry point."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes share two cores

import compat  # noqa: F401, I001
import gc
import multiprocessing
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.files import write_text
from study.configure import load_config
from tests.checkpoints import any_encoder
from scenes.attributes import ensure_classes
from scenes.export import ensure

pytest_plugins = ["tests.checkpoints", "tests.commands"]
torch.set_num_threads(1)
COUNTS = {"pretrain": 48, "train": 16, "val": 8, "test": 8}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that no process ends with one while the others have nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Every library is loaded by now; the collector, which each of mmengine's data sets calls, need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def scenes_root(tmp_path_factory) -> Path:
    """A small export of the embedded data, made once for all test processes."""
    root = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent
    root = root / "scenes"
    ensure(root, counts=COUNTS, processes=1)
    return root


@pytest.fixture
def configure(scenes_root, tmp_path) -> Callable:
    """`configure("pretrain/configs/mae.py", iters=4, ...)`: a whole configuration on the small export."""

    def make(config: str, iters: int, work_dir: Path | None = None, batch_size: int = 8, options=None, **arguments):
        if not {"encoder", "checkpoint"} & {*arguments}:
            arguments["encoder"] = any_encoder(config)
        overlay = tmp_path / "small.py"
        stated = load_config(config, encoder=any_encoder(config))
        settings = stated.data.to_dict()
        settings = {key: value.replace("data/scenes", str(scenes_root)) if isinstance(value, str) else value
                    for key, value in settings.items()}  # fmt: skip
        settings.pop("scenes_root", None)  # which would render the whole scenes there
        if "attribute" in settings:
            ensure_classes(scenes_root, settings.pop("attribute"))
        settings["name"] = "small-scenes"
        write_text(overlay, f"data = {settings!r}\n")  # whole at any moment: two processes may make it at once
        short = {"train_cfg.max_iters": iters, "train_dataloader.batch_size": batch_size}
        if "tokenizer" in stated.model:
            short["model.tokenizer.steps"] = 10  # an untrained dVAE's tokens serve a test as well
        options = {**short, **(options or {})}
        if "global_batch_size" in options:
            del options["train_dataloader.batch_size"]  # which has no effect then, and would be refused
        work_dir = work_dir or tmp_path / "run"
        return load_config(config, data=str(overlay), work_dir=str(work_dir), options=options, **arguments)

    return make


@pytest.fixture
def in_child() -> Callable:
    """`in_child(function)`: run it in a forked process and return that process's exit code (negative: a signal)."""

    def call(function: Callable, *args) -> int:
        def body() -> None:
            try:
                function(*args)
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
                os._exit(1)
            os._exit(0)

        process = multiprocessing.get_context("fork").Process(target=body)
        process.start()
        process.join()
        return process.exitcode

    return call
