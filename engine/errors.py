"""The one exception whose message is meant for the user, not for a developer."""

import errno
import re
import sys
from collections.abc import Iterable
from typing import ClassVar

LONGEST = 1500  # letters of a message; what it quotes may be a file's whole content


class UserError(Exception):
    """Bad input from outside the program: data, a checkpoint, a configuration or an argument.

    The message is one line that says what is wrong, where, and what to do about it. In what it quotes, line breaks
    become spaces, bytes that are no text become escapes, and the middle of what is very long is left out. Entry
    points print it without a traceback and exit with `status`.
    """

    status: ClassVar[int] = 2

    def __init__(self, message: str) -> None:
        # A data loader's worker hands over its error as a whole traceback, whose end is the message.
        own = printable(re.sub(r"\s*[\r\n]+\s*", " ", message.rpartition("engine.errors.UserError: ")[2].strip()))
        super().__init__(own if len(own) <= LONGEST else f"{own[: LONGEST * 2 // 3]} ... {own[-LONGEST // 3 :]}")


def tell(error: UserError | OSError) -> int:
    """Print the error as one line on standard error and return its exit status; raise a system's that is no user's."""
    said = own(error)
    print(f"error: {said}", file=sys.stderr)
    return said.status


def own(error: UserError | OSError) -> UserError:
    """The error for the user; of the system's that of a name that no file can have. Others are raised."""
    if isinstance(error, UserError):
        return error
    if error.errno != errno.ENAMETOOLONG:
        raise error
    return UserError(f"{error.filename} is longer than a file's name can be: correct it")


def printable(text: str) -> str:
    """A text, such as a path, on one line: bytes that are no UTF-8 and signs that are no letters stand as escapes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)  # fmt: skip


def some(names: Iterable[str], most: int = 5) -> str:
    """Up to `most` names for a message, and how many more there are."""
    names = [*names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
