"""A configuration is code of any shape: what values of other kinds than expected make of it is a sentence."""

import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config

from engine.errors import UserError
from engine.provenance import REPOSITORY


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
            given = [text for text, value in ((f"--data {named.get('data')}", named.get("data")),
                                              ("--cfg-options", named.get("options"))) if value]  # fmt: skip
            if not given and Path(path).resolve().is_relative_to(REPOSITORY):
                raise
            step = traceback.extract_tb(error.__traceback__)[-1].name
            raise UserError(
                f"{path}: its values do not fit together ({type(error).__name__} in {step}: {str(error)[:200]}); look "
                f"for one of another kind than it should be in {' and '.join(given) or 'that file'}"
            ) from error

    return loaded
