"""Read the tensors of a foreign checkpoint file, whatever its container, and nothing but tensors."""

import argparse
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.tensors import read_tensors
from engine.errors import UserError

# The running mean of the weights comes before the weights, as in timm's own loader; then MAE, DeiT, BEiT, CAE, FD;
# MoCo v3, SLIP, open_clip, OpenMMLab.
EMA = ("state_dict_ema", "model_ema")
WRAPPERS = (*EMA, "model", "state_dict")
PAIR = ("student", "teacher")  # DINO's full file: both are kept apart by this prefix


def read_source(path: str | Path) -> dict[str, Tensor]:
    """Return key -> tensor of a file as `read_with_notes` reads it."""
    return read_with_notes(path)[0]


def read_with_notes(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return (key -> tensor of a file, on the CPU, in the file's own number format; wrapper left out -> why).

    Wrappers are taken off: {"model"}, {"state_dict"}; where a running mean of the weights (`model_ema`,
    `state_dict_ema`) stands beside them, it is taken; other weights beside are noted as left out; of {"student",
    "teacher", ...} both are returned, with their names as prefixes; of any other name ({"teacher"}, {"module"}) what it
    holds, where these are the file's only weights, and of several each with its name as prefix. What stands beside
    them (optimizer, epoch, arguments) is no weight and is not returned.

    Args:
        path: .pth, .pt, .pth.tar or .bin (read as data only, never run), a TorchScript archive, or .safetensors.

    Raises:
        UserError: a missing, truncated, damaged or foreign file, or one without a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is no file; name the checkpoint file that was downloaded")
    if path.suffix == ".safetensors":
        return read_tensors(path), {}
    names = _checked_members(path)
    if any(name.endswith("/constants.pkl") for name in names):  # code, as TorchScript has and torch.save has not
        try:
            return dict(torch.jit.load(path, map_location="cpu").state_dict()), {}
        except Exception as error:  # whatever damaged code or data make torch raise
            raise _unreadable(path, error) from None
    try:
        # DINO and SLIP store their parsed command line, a plain record of values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any of a dozen ways
        kind = re.search(r"GLOBAL ([\w.]+)", str(error))
        if kind:
            raise UserError(
                f"{path} holds a {kind[1]}, which is not loaded from a foreign file; store its state dict alone"
            ) from None
        raise _unreadable(path, error) from None
    return unwrap(content, path)


def unwrap(content: Any, path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Take the wrappers off what torch.load returned: (state dict, wrapper left out -> why).

    Raises:
        UserError: no state dict in it.
    """
    notes: dict[str, str] = {}
    if isinstance(content, Mapping) and all(isinstance(content.get(name), Mapping) for name in PAIR):
        content = {f"{name}.{key}": value for name in PAIR for key, value in content[name].items()}
    for name in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            if name in EMA:
                beside = [other for other in ("model", "state_dict") if isinstance(content.get(other), Mapping)]
                notes = {f"{other}.*": f"{name}, the running mean of these weights, is used" for other in beside}
            others = {other: f"{name} beside it is used" for other, value in content.items()
                      if other != name and _is_state(value)}  # fmt: skip
            notes |= {f"{other}.*": why for other, why in others.items() if f"{other}.*" not in notes}
            content = content[name]
            break
    content = _only_weights(content)
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} holds no state dict; name a file with one, bare or under 'model' or 'state_dict'")
    if names := [key for key in content if not isinstance(key, str)]:
        raise UserError(f"{path} is no state dict: {names[0]!r} is no name of a tensor; store the weights alone")
    foreign = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if foreign:
        raise UserError(f"{path} is no state dict: {', '.join(foreign[:3])} is no tensor; store the weights alone")
    return dict(content), notes


def _only_weights(content: Any) -> Any:
    """The one state dict in a mapping that holds no tensors of its own; several by their names; else all as it is."""
    if not isinstance(content, Mapping) or any(isinstance(value, Tensor) for value in content.values()):
        return content
    found = {name: value for name, value in content.items() if isinstance(name, str) and _is_state(value)}
    if len(found) < 2:
        return next(iter(found.values()), content)
    joined: dict[str, Tensor] = {}  # such as I-JEPA's encoder, target_encoder and predictor
    for name, value in found.items():
        for key, tensor in value.items():
            if joined.setdefault(f"{name}.{key}", tensor) is not tensor:
                raise UserError(f"two weights are called {name}.{key} once the names of their state dicts are before "
                                "them; store one state dict alone")  # fmt: skip
    return joined


def _is_state(content: Any) -> bool:
    """Whether this is a state dict: names and tensors, at least one."""
    return isinstance(content, Mapping) and bool(content) and all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in content.items())  # fmt: skip


def _checked_members(path: Path) -> list[str]:
    """Names in a zip archive whose own checksums hold; none where the file is no zip archive, as older files are."""
    if not zipfile.is_zipfile(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()  # torch.load does not look at them
            names = archive.namelist()
    except Exception as error:  # whatever damaged headers make zipfile raise
        raise _unreadable(path, error) from None
    if broken is not None:
        raise UserError(f"{path} is damaged: the checksum of {broken} in it does not fit; download it again")
    return names


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
    return UserError(f"{path} cannot be read ({reason}): it is truncated or no checkpoint; download it again")
