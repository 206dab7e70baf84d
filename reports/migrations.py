"""How records of older versions become records of the current one: a step for each version that is left behind.

The file on disk stays as its run wrote it; a reader sees the current version only. Who changes the format adds one to
`VERSION`, and to `STEPS` the function from the version before.
"""

from collections.abc import Callable
from typing import Any

from engine.errors import UserError

VERSION = 2


def _from_1(record: dict[str, Any]) -> dict[str, Any]:
    """Version 2 added tasks, intervals over test images, chance and the pretraining set: all optional, none to fill."""
    return record


STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}


def migrate(record: dict[str, Any], where: str) -> dict[str, Any]:
    """Return `record` in the current version; `record` itself stays as it is.

    Raises `UserError`, opened by `where`, for a version that is neither the current one nor in the table.
    """
    version = record.get("version")
    if type(version) is not int or version not in (VERSION, *STEPS):  # True equals 1, but is no version
        raise UserError(
            f"{where}: version {version!r} of the record format; this reader knows versions "
            f"{', '.join(map(str, sorted(STEPS)))} and {VERSION}."
        )
    while version != VERSION:
        version, record = version + 1, {**STEPS[version](record), "version": version + 1}
    return record
