"""Files of tensors, read by the one library that runs nothing of them."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from engine.errors import UserError


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Key -> tensor of a safetensors file. UserError for one that is missing, cut short or none."""
    try:
        return load_file(path)
    except Exception as error:  # whatever a file that is none makes the library raise
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} cannot be read ({reason[:120]}): it is truncated or no file of tensors; copy or "
                        "make it again") from None  # fmt: skip
