"""What a data overlay or the command line states and a run does not have in the end, since something else fills it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config import OF_THE_DATA, read
from engine.errors import UserError
from engine.run_folder import flatten

MISSING = object()
# What becomes other keys or another list: engine/recipe.py, which refuses what these overrule, and engine/config.py,
# `share_batch` and `fill_schedule`.
CONSUMED = ("recipe", "accumulation", "param_scheduler")


def refuse_idle(cfg: Mapping[str, Any], options: Mapping[str, Any], data: str | None) -> None:
    """Refuse what the layers of a run's user state and the whole configuration does not have.

    Args:
        cfg: the configuration once all is filled that needs neither data nor encoder, as a dict.
        options: dotted keys and values of `--cfg-options`.
        data: the data overlay, over which options go.

    Raises:
        UserError: naming the first, and what stands in its place.
    """
    said = leaves(options)
    check_layer(cfg, said, "--cfg-options")
    if data is not None:
        overlay = {key: value for key, value in read(Path(data)).to_dict().items() if key not in OF_THE_DATA}
        check_layer(cfg, {key: value for key, value in leaves(overlay).items() if not touched(key, said)}, data)


def leaves(stated: Mapping[str, Any]) -> dict[str, Any]:
    """{dotted key: value} of all that is stated but what is consumed."""
    found = flatten(stated) if stated else {}
    return {
        key: value for key, value in found.items() if not (key.split(".")[0] in CONSUMED or key.endswith("_delete_"))
    }


def touched(key: str, said: Mapping[str, Any]) -> bool:
    """Whether an option is at, above or below a key."""
    return any(f"{key}.".startswith(f"{one}.") or f"{one}.".startswith(f"{key}.") for one in said)


def check_layer(cfg: Mapping[str, Any], stated: Mapping[str, Any], where: str) -> None:
    """Refuse a value of one layer that the configuration does not have."""
    for key, value in stated.items():
        found = value_at(cfg, key)
        if key == "train_dataloader.batch_size" and value in whole_batches(cfg):
            continue
        if found is MISSING and value is False:  # engine/switches.py leaves those out that are off
            continue
        if not alike(found, value):
            instead = "nothing" if found is MISSING else str(found)[:60]
            raise UserError(f"{where}: {key}={str(value)[:60]} is without effect: the run puts {instead} there, by its "
                            "data section, its flags or its file")  # fmt: skip


def whole_batches(cfg: Mapping[str, Any]) -> tuple[int | None, ...]:
    """The batches of which a pass of this process has its share: the process's, and that of all of them if stated."""
    of_process = cfg["train_dataloader"]["batch_size"] * cfg["train_cfg"].get("accumulation", 1)
    return of_process, cfg.get("global_batch_size")


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


def alike(found: Any, value: Any) -> bool:
    """Whether two values are equal; a tuple is like a list."""
    if isinstance(value, list | tuple) and isinstance(found, list | tuple):
        return len(value) == len(found) and all(map(alike, found, value))
    return found is value or found == value
