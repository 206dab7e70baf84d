"""Two or more ways to do the same, timed in turns: on a shared machine only their ratio, taken in one breath, means
something."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Pairs:
    """Seconds of each way in each round, in the order of the rounds; those of a round follow one another."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Seconds of one way."""
        return median(self.seconds[name])

    def ratios(self, name: str, beside: str) -> list[float]:
        """name / beside of each round, in ascending order."""
        return sorted(a / b for a, b in zip(self.seconds[name], self.seconds[beside], strict=True))

    def middle_ratio(self, name: str, beside: str) -> float:
        """The median of the ratios."""
        return median(self.ratios(name, beside))

    def shown(self, name: str, beside: str) -> str:
        """The median of the ratios and their range, such as 1.26 [1.17, 1.41]."""
        ratios = self.ratios(name, beside)
        return f"{median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]"


def clock() -> float:
    """Seconds of the processor, which other processes do not lengthen; with a GPU, of the wall, once it has done its
    work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int) -> Pairs:
    """Time each of `ways` once in each round, after one round that warms up and is not kept.

    Rounds go forwards and backwards in turn, so that no way always comes after the same other one.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            start = clock()
            ways[name]()
            if turn:
                seconds[name].append(clock() - start)
    return Pairs(seconds)
