"""mmengine's own checkpoints load safely; what runs code on loading is still refused."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, load_checkpoint
from torch.utils.data import DataLoader

from compat import safe_loading


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, targets, mode="tensor"):
        result = self.layer(inputs)
        return {"loss": (result - targets).square().mean()} if mode == "loss" else [result]


class Errors(BaseMetric):
    """Scores of the numpy types that metrics return: they enter the message hub, and best_score the checkpoint."""

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return {"single": np.float32(0.5), "double": np.float64(0.25), "count": np.int64(len(results))}


def make_runner(folder, iterations, **more):
    points = [(torch.tensor([x / 8]), torch.tensor([x / 4])) for x in range(8)]
    return Runner(
        Line(),
        str(folder),
        train_dataloader=DataLoader(points, batch_size=4),
        train_cfg={"by_epoch": False, "max_iters": iterations, "val_interval": 2},
        val_dataloader=DataLoader(points, batch_size=4),
        val_cfg={},
        val_evaluator=[Errors()],
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": 0.01}},
        param_scheduler=[
            {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 2},
            {"type": "PolyLR", "eta_min": 0.0, "by_epoch": False, "begin": 2, "end": 8},
        ],
        default_hooks={
            "checkpoint": {
                "type": "CheckpointHook",
                "interval": 2,
                "by_epoch": False,
                "save_best": ["single", "double", "count"],
                "rule": "less",
            },
            "logger": {"type": "LoggerHook", "interval": 1},
        },
        experiment_name=f"{folder.name}{len(list(folder.iterdir()))}{iterations}",
        default_scope="mmengine",
        log_level="ERROR",
        **more,
    )


@pytest.fixture(scope="module", autouse=True)
def scope_left_as_found():
    """A Runner makes its registry scope the process's default; other tests build models too."""
    found = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of four iterations."""
    folder = tmp_path_factory.mktemp("run")
    make_runner(folder, 4).train()
    return folder


def test_a_checkpoint_of_mmengine_loads_and_holds_the_message_hub(run):
    checkpoint = torch.load(run / "iter_4.pth")
    losses = checkpoint["message_hub"]["log_scalars"]["train/loss"]
    assert isinstance(losses, HistoryBuffer)
    assert len(losses.data[0]) == 4
    model = Line()
    load_checkpoint(model, str(run / "iter_4.pth"))
    torch.testing.assert_close(model.state_dict(), checkpoint["state_dict"])


def test_resume_goes_on(run):
    runner = make_runner(run, 6, resume=True, load_from=str(run / "iter_4.pth"))
    runner.train()
    assert runner.iter == 6
    assert len(runner.message_hub.log_scalars["train/loss"].data[0]) == 6


def test_nothing_is_allowed_that_checkpoints_do_not_hold(run):
    """Without any one of the allowed, some checkpoint of the run is refused."""
    everything = torch.serialization.get_safe_globals()
    try:
        for item in safe_loading.allowed():
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals([other for other in everything if other != item])
            with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
                for path in run.glob("*.pth"):
                    torch.load(path)
    finally:
        torch.serialization.add_safe_globals(everything)


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.reduced = (function, arguments)

    def __reduce__(self):
        return self.reduced


BAD = {
    "opens a file": Calls(open, "loaded", "w"),
    "in the meta data": {"state_dict": {}, "meta": Calls(open, "loaded", "w")},
    "evaluates": Calls(eval, "open('loaded', 'w')"),
    "reaches through getattr": Calls(getattr, HistoryBuffer, "__init__"),
    "reaches through getattr, elsewhere": Calls(getattr, np.ndarray, "mean"),
    "a class of ours": Errors,
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_what_could_run_code_is_refused(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    torch.save(value, "bad.pth")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        load_checkpoint(Line(), "bad.pth")
    assert not (tmp_path / "loaded").exists()
