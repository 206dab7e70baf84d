"""The learning rate of MIM-Depth-Estimation: one cycle whose two slopes are polynomials."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


def cycle(progress: float, rise: float, floor: float, power: float) -> float:
    """Share of the peak rate after `progress` (0 to 1) of the run, with p the progress in units of `rise`.

    p < 1: floor + (1 - floor) p^power; from then on: max(floor, 1 - (1 - floor) (p - 1)^power), which reaches the floor
    at p = 2 and stays there.
    """
    p = progress / rise
    if p < 1:
        return floor + (1 - floor) * p**power
    return max(floor, 1 - (1 - floor) * (p - 1) ** power)


@HOOKS.register_module()
class OneCycleHook(Hook):
    """Set every group's rate before each iteration: the optimizer's rate, times the group's `lr_scale`, times `cycle`.

    A function of the iteration alone, so that a resumed run needs no state of it.

    Args:
        rise: the share of the run at which the peak is reached.
        floor: first and last rate, relative to the peak.
        power: exponent of both slopes.
    """

    priority = "VERY_HIGH"  # before the progress lines read the rate

    def __init__(self, rise: float, floor: float, power: float) -> None:
        self.rise, self.floor, self.power = rise, floor, power

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Set the rates of the coming iteration."""
        share = cycle(runner.iter / runner.max_iters, self.rise, self.floor, self.power)
        optimizer = runner.optim_wrapper.optimizer
        for group in optimizer.param_groups:
            group["lr"] = optimizer.defaults["lr"] * group["lr_scale"] * share
