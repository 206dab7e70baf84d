"""Pretraining: methods, their shared parts and their data. Importing this package registers all of them by name."""

from pretrain import hooks, methods, optim
from pretrain.data import dataset, dense
from pretrain.from_data import fill, method_class

__all__ = ["dataset", "dense", "fill", "hooks", "method_class", "methods", "optim"]
