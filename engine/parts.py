"""Importing this module registers everything of `engine` that a configuration can name."""

from engine import data_order, loop, optim, panels, progress, resume, sinks

__all__ = ["data_order", "loop", "optim", "panels", "progress", "resume", "sinks"]
