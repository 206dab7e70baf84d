"""DenseBench as one command and two functions. Everything else stays in the checkout that `pip install -e .` names.

    from densebench import load_encoder, read_checkpoint

The functions are those of `backbones`, imported when first asked for: `densebench --help` need not wait for torch.
"""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backbones import load_encoder, read_checkpoint

__version__ = "0.2.0"
__all__ = ["load_encoder", "read_checkpoint"]


def checkout() -> Path:
    """The folder that holds this package and the rooms it opens.

    Raises:
        ImportError: the package was copied away from its checkout, as a plain `pip install .` does.
    """
    root = Path(__file__).resolve().parents[1]
    if not (root / "tools" / "start.py").is_file():
        raise ImportError(f"{root} holds densebench without its checkout: run pip install -e . in the checkout instead")
    return root


def open_rooms() -> None:
    """Put the checkout at the end of the path, where a program's own modules keep their names, and import `compat`."""
    root = str(checkout())
    if root not in sys.path:
        sys.path.append(root)
    importlib.import_module("compat")  # before the libraries that it mends


def __getattr__(name: str) -> Any:
    """One of `__all__`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    open_rooms()
    return getattr(importlib.import_module("backbones"), name)
