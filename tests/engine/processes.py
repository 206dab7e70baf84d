"""Processes of tests that go on beside the test."""

import os
import traceback
from collections.abc import Callable


def forked(function: Callable[[], object]) -> int:
    """Run `function` in a forked process and return its id; it ends there with status 0, or 1 where it raises."""
    if child := os.fork():
        return child
    status = 1
    try:
        function()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
