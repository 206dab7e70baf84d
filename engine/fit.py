"""A configuration is code of any shape: what values of other kinds than expected make of it is a sentence."""

import contextlib
import functools
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import OutOfMemoryError

from engine.errors import UserError
from engine.files import write_bytes
from engine.provenance import REPOSITORY


def own_layers(path: str | Path, data: str | Path | None, options: Mapping[str, Any] | None) -> str:
    """The layers of a configuration that are the user's own, as words for a message; "" where all are the suite's."""
    given = [text for text, value in ((f"--data {data}", data), ("--cfg-options", options)) if value]
    if not given and Path(path).resolve().is_relative_to(REPOSITORY):
        return ""
    return " and ".join(given) or "that file"


def misfit(path: str | Path, layers: str, error: Exception) -> str:
    """The sentence on an error that values of other kinds than expected may have raised."""
    step = traceback.extract_tb(error.__traceback__)[-1].name
    return (
        f"{path}: its values do not fit together ({type(error).__name__} in {step}: {str(error)[:200]}); look for one "
        f"of another kind or size than it should be in {layers}"
    )


def fitted(load: Callable[..., Config]) -> Callable[..., Config]:
    """Decorate a function that loads a config file: what values of other kinds than expected make it raise is a
    sentence, where a user's own file, data or options are among the layers; in the suite's own it is a fault of ours.
    """

    @functools.wraps(load)
    def loaded(path: str | Path, *words: Any, **named: Any) -> Config:
        try:
            return load(path, *words, **named)
        except UserError:
            raise
        except Exception as error:
            layers = own_layers(path, named.get("data"), named.get("options"))
            if not layers:
                raise
            raise UserError(misfit(path, layers, error)) from error

    return loaded


@contextlib.contextmanager
def fitting(path: str | Path, layers: str, folder: Path) -> Iterator[None]:
    """Run a configuration: as `fitted`, until the first report of its training; the traceback is kept in the folder.

    Memory that does not suffice is a sentence at any time.

    Args:
        path: the config file; layers: from `own_layers`; folder: the run's.
    """
    try:
        yield
    except (UserError, OSError):
        raise
    except OutOfMemoryError as error:
        raise UserError(
            f"{path}: a device's memory is full ({str(error)[:200]}): the same batch in passes, accumulation=2, needs "
            "less, and so does --amp"
        ) from error
    except Exception as error:
        curve = folder / "curve.jsonl"
        if not layers or (curve.is_file() and curve.stat().st_size):
            raise
        kept = folder / "traceback.txt"
        write_bytes(kept, "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace"))
        raise UserError(f"{misfit(path, layers, error)} (traceback: {kept})") from error
