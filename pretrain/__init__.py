"""Pretraining: methods, their shared parts and their data. Importing this package registers all of them by name."""

from pretrain import data, dense, hooks, methods, optim
from pretrain.binding import complete, method_class

__all__ = ["complete", "data", "dense", "hooks", "method_class", "methods", "optim"]
