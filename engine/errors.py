"""The one exception whose message is meant for the user, not for a developer."""

import sys
from collections.abc import Iterable
from typing import ClassVar


class UserError(Exception):
    """Bad input from outside the program: data, a checkpoint, a configuration or an argument.

    The message is one line that says what is wrong, where, and what to do about it. Entry points print it without a
    traceback and exit with `status`.
    """

    status: ClassVar[int] = 2


def tell(error: UserError) -> int:
    """Print the error as one line on standard error and return its exit status."""
    # A data loader's worker sends its error as a whole traceback; the last line holds the message.
    print(f"error: {str(error).strip().splitlines()[-1].removeprefix('engine.errors.UserError: ')}", file=sys.stderr)
    return error.status


def some(names: Iterable[str], most: int = 5) -> str:
    """Up to `most` names for a message, and how many more there are."""
    names = [*names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
