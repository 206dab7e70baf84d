"""KEY=VALUE words of a command line, by mmengine's rules."""

import argparse
from typing import Any

from mmengine.config import DictAction


def store(action: argparse.Action, *met: Any) -> None:
    """Store the words that an argparse action met as a dict. ArgumentError for words that are none of KEY=VALUE."""
    try:
        DictAction(action.option_strings, action.dest, nargs=action.nargs)(*met)
    except (ValueError, AssertionError, RecursionError) as error:
        raise argparse.ArgumentError(action, f"give words KEY=VALUE, brackets closed ({error})") from None
