"""What things cost, each by a command: `python -m benchmarks.NAME`, in the checkout.

As with the commands in tools/, one thread unless OMP_NUM_THREADS says otherwise, and `compat` before what it mends.
"""

import importlib
import os
import sys
from collections.abc import Callable
from typing import NoReturn

os.environ.setdefault("OMP_NUM_THREADS", "1")
importlib.import_module("compat")


def carry_out(main: Callable[[], int | None]) -> NoReturn:
    """Run a benchmark and exit with its status; bad input (`UserError`) is one line and status 2."""
    from engine.errors import UserError, tell

    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(tell(error))
