"""One file per pretraining method. Importing this package imports all, which registers them in mmengine's MODELS."""

import importlib
import pkgutil

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
