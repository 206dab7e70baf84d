"""Importing this module registers everything of `engine` that a configuration can name."""

from engine import grouping, loop, optim, order, panels, progress, resume, sinks, testing

__all__ = ["grouping", "order", "loop", "optim", "panels", "progress", "resume", "sinks", "testing"]
