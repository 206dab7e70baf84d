"""mmengine 0.10.7 writes checkpoints that torch >= 2.6 refuses to load safely: allow exactly the types they hold.

`torch.load` reads tensors and plain containers only, unless told by name which further types may be built. A checkpoint
of mmengine's Runner also holds its message hub: `HistoryBuffer`s, whose contents are numpy arrays, and numpy numbers
among the run-time facts (a best score). Safe loading stays on; every other type is refused as before.
"""

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

# The dtypes of a log history: float values, integer counts; the rest are what metrics return.
_DTYPES = (np.float64, np.float32, np.int64, np.int32, np.bool_)


def allowed_types() -> list[type]:
    """Return what mmengine's own checkpoints hold beyond tensors and containers: a list of types and functions.

    numpy's two rebuilding functions live in a private module whose name changed between numpy 1 and 2, so they are
    taken from the public `__reduce__` of an array and of a number.
    """
    rebuild_array, rebuild_number = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(scalar)) for scalar in _DTYPES}
    return [HistoryBuffer, np.ndarray, np.dtype, rebuild_array, rebuild_number, *sorted(dtypes, key=str)]


def install() -> None:
    """Allow those types in `torch.load`; repeating it changes nothing."""
    torch.serialization.add_safe_globals(allowed_types())
