"""A bar with the time that is left, for tests that take longer than some seconds."""

from collections.abc import Mapping, Sequence

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm

AFTER = 5  # seconds, before which nobody needs one


def bar(total: int, what: str, unit: str) -> tqdm:
    """A bar of `total` steps that appears after some seconds, on a terminal alone."""
    return tqdm(total=total, desc=what, unit=unit, delay=AFTER, leave=False, disable=None)


class BarOfTest(Hook):
    """Show how far a test is."""

    def before_test_epoch(self, runner: Runner) -> None:
        """Start the bar of the main process."""
        self.bar = bar(len(runner.test_dataloader), "test", "batch") if is_main_process() else None

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence | None = None, outputs: Sequence | None = None
    ) -> None:
        """One batch further."""
        if self.bar is not None:
            self.bar.update()

    def after_test_epoch(self, runner: Runner, metrics: Mapping | None = None) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
