"""Importing this module registers everything of `recognition` that a configuration can name."""

from recognition import classifier, folders

__all__ = ["classifier", "folders"]
