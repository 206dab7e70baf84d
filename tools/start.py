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
AGAIN, INTERRUPTED, UNREAD = 75, 130, 141  # engine/stop.py's; the last: 128 + SIGPIPE, as shells report it
sys.path.insert(0, str(ROOT))  # before this folder, whose study.py and scenes.py are named like rooms


class KeyValues(argparse.Action):
    """mmengine's `DictAction`, imported when the flag is met, so that `--help` need not wait for torch."""

    def __call__(self, *met: Any) -> None:
        """Store KEY=VALUE words as a dict; `met` is what argparse hands to every action."""
        mend()
        from engine.options import store

        store(self, *met)


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a command's docstring as it is written."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def run_parser(doc: str | None, first: str) -> argparse.ArgumentParser:
    """The words of tools/train.py and tools/test.py alike; `first` explains the first one."""
    parser = parser_of(doc)
    add = parser.add_argument
    add("config", help=first)
    add("--encoder", metavar="NAME|FOLDER", help="a method's name, whose checkpoint of this scale and seed"
        " is taken; a checkpoint folder; a published file, timm:NAME.TAG or hf:ORG/REPO, converted once")  # fmt: skip
    add("--checkpoint", metavar="FOLDER", help="instead of the method's own; in pretraining, of the parent's")
    add("--scale", default="tiny", help="tiny (default), study, paper (published), and its forms: docs/protocols.md")
    add("--seed", type=int, default=0, help="of weights, data, augmentation, masks; or just a name (default 0)")
    add("--data", help="data overlay: a file with data = dict(...) for your own data (README)")
    add("--name", help="what tables call the encoder (default: what its checkpoint says)")
    add("--work-dir", help="the run's folder (default runs/<scale>/<task>/<method>/seed<seed>[-<hash of options>])")
    add("--cfg-options", nargs="+", action=KeyValues, default={}, metavar="KEY=VALUE",
        help="change any value: train_cfg.max_iters=2 optim_wrapper.optimizer.lr=5e-4 neighbours=10")  # fmt: skip
    add("--save-predictions", action="store_true", help="of a segmentation, detection or depth test: leave class maps,"
        " COCO JSON or 16-bit depth maps in <work-dir>/predictions (docs/results.md)")  # fmt: skip
    add("--show", nargs="?", const="", metavar="KEY", help="print the merged configuration, or what is at and below"
        " KEY, with the layer that each value comes from, and stop")  # fmt: skip
    return parser


def mend() -> None:
    """Import `compat`, which must come before the libraries that it mends."""
    importlib.import_module("compat")


def run(
    main: Callable[[Sequence[str]], int | None], threads: int = 1, advice: str = "the same command begins again"
) -> NoReturn:
    """Run a command on the process's arguments and exit with its status; None is 0.

    Bad input (`UserError`) is one line and status 2, an interruption one and 130, or 75 by a batch system's signal.

    Args:
        main: takes the words behind the command's name.
        threads: of torch, where OMP_NUM_THREADS does not say: at scale tiny, runs side by side beat one on all cores.
        advice: what a person may do after an interruption.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read once, when torch is imported
    from engine.errors import UserError, tell

    sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be of any bytes
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # who reads, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = UNREAD
    except (UserError, OSError) as error:
        status = tell(error)
    except KeyboardInterrupt as stop:
        print(f"interrupted: {advice}", file=sys.stderr)
        status = AGAIN if stop.args else INTERRUPTED
    sys.exit(status)
