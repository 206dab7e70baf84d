"""What things cost, each by a command: `python -m benchmarks.NAME`, in the checkout.

As with the commands in tools/, one thread unless OMP_NUM_THREADS says otherwise, and `compat` before what it mends.
"""

import importlib
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
importlib.import_module("compat")
