"""Read the tensors of a foreign checkpoint file, whatever its container, and nothing but tensors."""

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from engine.errors import UserError

WRAPPERS = ("model", "state_dict")  # MAE, DeiT, BEiT, CAE, FD; MoCo v3, SLIP, open_clip, OpenMMLab
PAIR = ("student", "teacher")  # DINO's full file: both are kept apart by this prefix


def read_source(path: str | Path) -> dict[str, Tensor]:
    """Return key -> tensor of a file, on the CPU, in the file's own number format.

    Wrappers are taken off: {"model"}, {"state_dict"}; of {"student", "teacher", ...} both are returned, with their
    names as prefixes. What stands beside them (optimizer, epoch, arguments) is no weight and is not returned.

    Args:
        path: .pth, .pt, .pth.tar or .bin (read as data only, never run), a TorchScript archive, or .safetensors.

    Raises:
        UserError: a missing, truncated or foreign file, or one without a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is no file; name the checkpoint file that was downloaded")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from None
    if _is_torchscript(path):
        try:
            return dict(torch.jit.load(path, map_location="cpu").state_dict())
        except (RuntimeError, OSError) as error:
            raise _unreadable(path, error) from None
    try:
        # DINO and SLIP store their parsed command line, a plain record of values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        kind = re.search(r"GLOBAL ([\w.]+)", str(error))
        if kind:
            raise UserError(
                f"{path} holds a {kind[1]}, which is not loaded from a foreign file; store its state dict alone"
            ) from None
        raise _unreadable(path, error) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise _unreadable(path, error) from None
    return unwrap(content, path)


def unwrap(content: Any, path: str | Path) -> dict[str, Tensor]:
    """Take the wrappers off what torch.load returned. UserError where no state dict is in it."""
    if isinstance(content, Mapping) and all(isinstance(content.get(name), Mapping) for name in PAIR):
        content = {f"{name}.{key}": value for name in PAIR for key, value in content[name].items()}
    for name in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} holds no state dict; name a file with one, bare or under 'model' or 'state_dict'")
    foreign = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if foreign:
        raise UserError(f"{path} is no state dict: {', '.join(foreign[:3])} is no tensor; store the weights alone")
    return dict(content)


def _is_torchscript(path: Path) -> bool:
    """Whether a zip archive holds code, as TorchScript does and torch.save does not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
    return UserError(f"{path} cannot be read ({reason}): it is truncated or no checkpoint; download it again")
