"""Options of the command line that end without effect, because something that is filled in later says otherwise."""

from collections.abc import Mapping
from typing import Any

from engine.errors import UserError

MISSING = object()
# What becomes other keys: engine/recipe.py, which refuses what these overrule, and engine/config.py, `share_batch`.
CONSUMED = ("recipe", "accumulation")


def refuse_idle(cfg: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse options that a whole configuration does not have.

    Args:
        cfg: the configuration once all is filled that needs neither data nor encoder, as a dict.
        options: dotted keys and values of `--cfg-options`.

    Raises:
        UserError: naming the first, and what stands in its place.
    """
    for key, value in options.items():
        if key.split(".")[0] in CONSUMED or key.endswith("_delete_"):
            continue
        found = value_at(cfg, key)
        if found is MISSING and value is False:  # engine/switches.py leaves those out that are off
            continue
        if not holds(found, value):
            instead = "nothing" if found is MISSING else str(found)[:60]
            raise UserError(f"--cfg-options: {key}={str(value)[:60]} is without effect: the run puts {instead} there,"
                            " by its data section, its flags or its file")  # fmt: skip


def value_at(cfg: Any, key: str) -> Any:
    """The value at a dotted key, whose numbers are places in lists; MISSING where there is none."""
    for name in key.split("."):
        if isinstance(cfg, Mapping):
            cfg = cfg.get(name, MISSING)
        elif isinstance(cfg, list | tuple) and name.isdigit() and int(name) < len(cfg):
            cfg = cfg[int(name)]
        else:
            return MISSING
    return cfg


def holds(found: Any, value: Any) -> bool:
    """Whether a value stands there; of a dict, all of its entries."""
    if isinstance(value, Mapping) and isinstance(found, Mapping):
        return all(holds(found.get(key, MISSING), one) for key, one in value.items() if key != "_delete_")
    if isinstance(value, list | tuple) and isinstance(found, list | tuple):
        return len(value) == len(found) and all(map(holds, found, value))
    return found is value or found == value
