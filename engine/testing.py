"""Tests shared by processes: any number of them measures what one measures, to the last digit."""

import itertools
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.evaluator import Evaluator
from mmengine.registry import DATA_SAMPLERS, LOOPS
from mmengine.runner import Runner, TestLoop
from torch.utils.data import DataLoader, Dataset, Sampler


@DATA_SAMPLERS.register_module()
class WholeBatches(Sampler[int]):
    """Process r of w takes batches r, r + w, ... of the data set in its order; none is repeated.

    What a model says of an image depends in its last digits on the other images of the batch, so that each batch holds
    what it would hold in one process.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int | None = None) -> None:
        self.size, self.batch_size = len(dataset), batch_size
        self.rank, self.world_size = get_dist_info()

    def __iter__(self) -> Iterator[int]:
        for first in range(self.rank * self.batch_size, self.size, self.world_size * self.batch_size):
            yield from range(first, min(first + self.batch_size, self.size))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def share_test(cfg: Config) -> None:
    """Let the runner of a configuration test by `SharedTestLoop`, where it tests anything."""
    if "test_cfg" in cfg:
        cfg.test_cfg.type = "SharedTestLoop"


def first_of(runner: Runner, batch_idx: int) -> int:
    """The place in the data set of the first sample of this process's batch number `batch_idx`."""
    rank, processes = get_dist_info()
    return (batch_idx * processes + rank) * runner.test_dataloader.batch_size


def in_order(results: list, size: int, batch_size: int) -> list:
    """What all processes found, a result for each sample, in the data set's order; all of them ask together.

    Args:
        results: of this process, whose samples `WholeBatches` chose.
        size: of the data set.
    """
    parts = [iter(part) for part in all_gather_object(results)]
    whole = []
    for number, first in enumerate(range(0, size, batch_size)):
        whole += itertools.islice(parts[number % len(parts)], min(batch_size, size - first))
    return whole


class OrderedEvaluator(Evaluator):
    """mmengine's Evaluator on the results of `WholeBatches`."""

    def __init__(self, metrics: dict | list, batch_size: int) -> None:
        super().__init__(metrics)
        self.batch_size = batch_size

    def evaluate(self, size: int) -> dict[str, Any]:
        """Measure; {name: value}, complete in the first process as in all."""
        rank, processes = get_dist_info()
        if processes > 1:
            for metric in self.metrics:
                whole = in_order(metric.results, size, self.batch_size)
                # The metric itself takes one result of each process in turn, of equally many, and `size` of them all.
                share = whole[rank::processes]
                metric.results = share + whole[:1] * (-(-size // processes) - len(share))
        return super().evaluate(size)


@LOOPS.register_module()
class SharedTestLoop(TestLoop):
    """mmengine's TestLoop with `WholeBatches`."""

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, evaluator: Any, fp16: bool = False) -> None:
        batch_size = dataloader["batch_size"] if isinstance(dataloader, dict) else dataloader.batch_size
        if isinstance(dataloader, dict):
            dataloader = {**dataloader, "sampler": dict(type="WholeBatches", batch_size=batch_size)}
        if isinstance(evaluator, dict | list):
            evaluator = OrderedEvaluator(evaluator, batch_size)
        super().__init__(runner, dataloader, evaluator, fp16)
