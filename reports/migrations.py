"""How records of older versions become records of the current one: a step for each version that is left behind.

The file on disk stays as its run wrote it; a reader sees the current version only. Who changes the format adds one to
`VERSION`, and to `STEPS` the function from the version before.
"""

import re
import shlex
from collections.abc import Callable
from typing import Any

from engine.catalogue import TASK, family_of
from engine.errors import UserError
from reports.strict_json import one_line

VERSION = 3
UNKNOWN = "unknown"
SEARCHED = ("optim_wrapper.optimizer.lr", "optim_wrapper.paramwise_cfg.layer_decay", "selection", "role")
"""Options by which a study gives a run its place or its settings: these stand in fields of their own."""
SCENES_PIXELS = 64  # per side, of the embedded scenes of every release that wrote version 2


def _from_1(record: dict[str, Any]) -> dict[str, Any]:
    """Version 2 added tasks, intervals over test images, chance and the pretraining set: all optional, none to fill."""
    return record


def _from_2(record: dict[str, Any]) -> dict[str, Any]:
    """Version 3 added the encoder's name, source and family, what the data call their split, the scale of pretraining,
    and of fine-tuning the input size, the batch of all processes, precision, mean, std, limits and options.

    What a record of version 2 tells by its other fields is read off them; the rest is null or "unknown".
    """
    settings, command, method = record["settings"], record["command"], record["method"]
    foreign = method == "timm"  # the only id under which that release kept weights whose origin it did not know
    encoder = record["checkpoint"]["encoder"]["name"] if record["checkpoint"] else UNKNOWN
    processes = _processes(record)
    of_scenes = record["dataset"] == "scenes" and TASK[record["task"]].group == "dense" and "size=" not in command
    trained = settings["iterations"] is not None
    data = record["budget"].get("pretrain_data") or {"name": UNKNOWN, "samples": None}
    own = {key: value for key, value in settings.items() if key != "batch_size"}
    batch = settings["batch_size"]
    return {
        **record,
        "name": encoder if foreign else record["method_name"],
        "source": UNKNOWN if foreign else None,
        "family": UNKNOWN if foreign else family_of(method),
        "tested_on": record["split"],
        "protocol": _with_size(record) if of_scenes else record["protocol"],
        "settings": {
            **own,
            "global_batch": batch * processes if batch and processes else None,
            "processes": processes,
            "precision": ("bf16" if "--amp" in command.split() else "float32") if trained else None,
            "input_size": [SCENES_PIXELS, SCENES_PIXELS] if of_scenes else None,
            **dict.fromkeys(("mean", "std", "detections", "proposals")),
            "options": _options(command),
        },
        "budget": {**record["budget"], "pretrain_data": data, "pretrain_scale": None if foreign else record["scale"]},
    }


def _processes(record: dict[str, Any]) -> int | None:
    """How many processes fine-tuned, by their common pace; None where it does not tell. A test needs only one."""
    settings, cost = record["settings"], record["cost"]
    if TASK[record["task"]].group == "image" and record["task"] != "finetune":
        return 1
    seen, pace, wall = settings["iterations"], cost["finetune_samples_per_s"], cost["finetune_wall_s"]
    if not (seen and pace and wall and settings["batch_size"]):
        return None
    found = pace * wall / (seen * settings["batch_size"])
    return round(found) if found > 0.9 and abs(found - round(found)) < 0.05 * found else None


def _with_size(record: dict[str, Any]) -> str:
    """The protocol with the scenes' size of image before the scale."""
    return re.sub(rf"-({re.escape(record['scale'])}-v\d+)$", rf"-{SCENES_PIXELS}-\1", record["protocol"])


def _options(command: str) -> list[str]:
    """The key=value words after --cfg-options in a command, but for those of `SEARCHED`."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quotation mark without its partner
        words = command.split()
    if "--cfg-options" not in words:
        return []
    after = words[words.index("--cfg-options") + 1 :]
    end = next((k for k, word in enumerate(after) if word.startswith("--")), len(after))
    return sorted(word for word in after[:end] if word.partition("=")[0] not in SEARCHED)


STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2}


def migrate(record: dict[str, Any], where: str) -> dict[str, Any]:
    """Return `record` in the current version; `record` itself stays as it is.

    Raises `UserError`, opened by `where`, for a version that is neither the current one nor in the table, and for a
    record that breaks the rules of its own version.
    """
    version = record.get("version")
    if type(version) is not int or version not in (VERSION, *STEPS):  # True equals 1, but is no version
        raise UserError(
            f"{where}: version {version!r} of the record format; this reader knows versions "
            f"{', '.join(map(str, sorted(STEPS)))} and {VERSION}."
        )
    while version != VERSION:
        try:
            version, record = version + 1, {**STEPS[version](record), "version": version + 1}
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"{where}: no whole record of version {version} ({type(error).__name__}: {one_line(str(error))})."
            ) from None
    return record
