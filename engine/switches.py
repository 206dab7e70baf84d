"""Switches of one run: how it is computed, for less memory or time. Each is off unless asked for.

Data alone and free of heavy imports, since `--help` shows it.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from engine.errors import UserError

# Top-level key of a configuration -> what --help says of it.
SWITCHES = {
    "activation_checkpointing": "keep no activations within the encoder's blocks and compute them again for the"
    " gradient: less memory, more time, the same numbers",
    "compile": "compile the encoder's blocks by torch.compile; numbers may differ in their last digits",
    "channels_last": "keep images and convolutions with their channels last, which pays for convolutional encoders;"
    " numbers may differ in their last digits",
    "tf32": "matrix products and convolutions of NVIDIA GPUs in TensorFloat32; records say so",
}
# Of the same names mmengine's runner has switches of its own, which know no blocks.
KEYS = {"activation_checkpointing": "recompute_blocks", "compile": "compile_blocks"}

# Keys of a configuration that flags of their own say, or that follow from them: an option would be without effect.
OF_FLAGS = ("seed", "scale", "work_dir", "checkpoint", "launcher", "resume")


def refuse_flags(options: Mapping[str, Any]) -> None:
    """Refuse `--cfg-options` that say what a flag says. UserError for the first of them."""
    for key in OF_FLAGS:
        if key in options:
            raise UserError(f"--cfg-options: {key} is what {flag_of(key)} says: say it there")


def flag_of(key: str) -> str:
    """The flag of a switch, such as --channels-last."""
    return "--" + key.replace("_", "-")


def key_of(switch: str) -> str:
    """The top-level key of a configuration that a switch sets."""
    return KEYS.get(switch, switch)


def with_flags(options: dict[str, Any], words: MutableMapping[str, Any]) -> dict[str, Any]:
    """`--cfg-options` with what the flags of switches and of accumulation say, which are taken from `words`.

    Raises:
        UserError: an option that a flag says too.
    """
    asked = {key_of(switch): True for switch in SWITCHES if words.pop(switch, False)}
    if passes := words.pop("accumulation", None):
        asked["accumulation"] = passes
    if twice := [key for key in asked if key in options]:
        raise UserError(f"{twice[0]} is said by a flag and by --cfg-options: leave one of them out")
    return {**options, **asked}


def keep_asked(cfg: MutableMapping[str, Any], trained: bool) -> None:
    """Leave those switches in a configuration that are on, so that those that are off change neither it nor its hash.

    Raises:
        UserError: a value that is neither True nor False, or a switch of what trains nothing.
    """
    for switch in SWITCHES:
        key = key_of(switch)
        value = cfg.get(key, False)
        if type(value) is not bool:
            raise UserError(f"{key} is {value!r}: say True or False")
        if value and not trained:
            raise UserError(f"{flag_of(switch)} is for trainings, and this tests an encoder as it is: leave it out")
        if not value:
            cfg.pop(key, None)
    if not trained and cfg.get("accumulation", 1) != 1:
        raise UserError("--accumulation is for trainings, and this tests an encoder as it is: leave it out")


def autocast(cfg: Mapping[str, Any], flag: bool) -> bool:
    """Whether a training runs under bf16 autocast: by `--amp`, or by optim_wrapper.amp, which a study's options say.

    Raises:
        UserError: a value that is neither True nor False, or the flag beside a False.
    """
    value = cfg["optim_wrapper"].get("amp", flag)
    if type(value) is not bool:
        raise UserError(f"optim_wrapper.amp is {value!r}: say True or False")
    if flag and not value:
        raise UserError("optim_wrapper.amp is False beside --amp: leave one of them out")
    return value


def precision(cfg: Mapping[str, Any]) -> str:
    """What a record calls the numbers that a training multiplies: float32, tf32, bf16, or bf16+tf32 where what autocast
    leaves in float32 is multiplied in TensorFloat32."""
    names = [name for name, used in (("bf16", cfg["optim_wrapper"].get("amp")), ("tf32", cfg.get("tf32"))) if used]
    return "+".join(names) or "float32"
