"""One file per pretraining method, and beside it what it alone needs (`lightclip_*.py`).

Importing this package imports all, which registers the methods in mmengine's MODELS.
"""

import importlib
import pkgutil

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")
