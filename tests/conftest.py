"""Shared fixtures. `compat` comes first, as in every entry point."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes share two cores

import compat  # noqa: E402, F401
