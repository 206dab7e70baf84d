"""What all commands share: the checkout on the path, one way to begin, to be interrupted and to refuse.

A command imports `start` before anything of the project, parses its arguments, and only then imports what is heavy;
`mend()` comes first of that. Its last line is `start.run(main)`.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # before this folder, whose study.py and scenes.py are named like rooms

INTERRUPTED = 130  # what shells report of a program that SIGINT (2) ended: 128 + 2


class KeyValues(argparse.Action):
    """mmengine's `DictAction`, imported when the flag is met, so that `--help` need not wait for torch."""

    def __call__(self, *met: Any) -> None:
        """Store KEY=VALUE words as a dict; `met` is what argparse hands to every action."""
        mend()
        from mmengine.config import DictAction

        DictAction(self.option_strings, self.dest, nargs=self.nargs)(*met)


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a command's docstring as it is written."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def mend() -> None:
    """Import `compat`, which must come before the libraries that it mends. Repeating it costs nothing."""
    importlib.import_module("compat")


def run(
    main: Callable[[Sequence[str]], int | None], threads: int = 1, advice: str = "the same command begins again"
) -> NoReturn:
    """Run a command on the process's arguments and exit with its status; None is 0.

    Bad input (`UserError`) is one line and status 2, an interruption one line and status 130.

    Args:
        main: takes the arguments behind the command's name.
        threads: of torch and numpy, where OMP_NUM_THREADS does not say: one process per core beats one process on all
            cores at scale tiny.
        advice: what a person may do after an interruption.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read once, when torch is imported
    from engine.errors import UserError, tell

    try:
        status = main(sys.argv[1:])
    except UserError as error:
        status = tell(error)
    except KeyboardInterrupt:
        print(f"interrupted: {advice}", file=sys.stderr)
        status = INTERRUPTED
    sys.exit(status)
