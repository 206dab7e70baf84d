"""mmengine 0.10.7 writes checkpoints that torch >= 2.6 refuses to load safely: allow exactly the types they hold.

`torch.load` builds tensors and plain containers only, unless told by name what else it may build. A checkpoint of
mmengine's Runner also holds its message hub: `HistoryBuffer`s, whose contents are numpy arrays, and numpy numbers as
metrics return them (a best score). Safe loading stays on; everything else is refused as before.
"""

import pickle
from collections.abc import Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_STATISTICS = ("min", "max", "current", "mean")  # what every HistoryBuffer names


def _statistic(owner: object, name: str) -> Callable:
    """Stands in for `getattr`, by which a pickled HistoryBuffer names its four statistics; answers for nothing else."""
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(f"the checkpoint asks for attribute {name!r} of {owner!r}: refused as unsafe")
    return getattr(HistoryBuffer, name)


def allowed() -> list[Callable | tuple[Callable, str]]:
    """Return what mmengine's own checkpoints hold beyond tensors and containers, as `add_safe_globals` takes it.

    numpy's two rebuilding functions live in a module that was renamed between numpy 1 and 2, so they are taken from the
    public `__reduce__` of an array and of a number. The dtypes: values and single or double metrics, and counts.
    """
    rebuild_array, rebuild_number = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(scalar)) for scalar in (np.float64, np.float32, np.int64)]
    statistic = (_statistic, "builtins.getattr")
    return [HistoryBuffer, statistic, np.ndarray, np.dtype, *dtypes, rebuild_array, rebuild_number]


def install() -> None:
    """Allow those in `torch.load`; repeating it changes nothing."""
    torch.serialization.add_safe_globals(allowed())
