"""Importing this module registers everything of `engine` that a configuration can name."""

from engine import loop, optim, order, panels, progress, resume, sinks

__all__ = ["order", "loop", "optim", "panels", "progress", "resume", "sinks"]
