"""Pretraining: methods, their shared parts and their data. Importing this package registers all of them by name."""

from pretrain import hooks, methods, optim
from pretrain.data import dataset, dense
from pretrain.from_data import complete, method_class

__all__ = ["complete", "dataset", "dense", "hooks", "method_class", "methods", "optim"]
