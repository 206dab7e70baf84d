"""The way out: a suite checkpoint as one file that others load."""

import json
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from backbones.checkpoint import load_encoder, load_text_state
from backbones.ledger import load_exactly
from engine import files
from engine.errors import UserError

PICKLED = (".pth", ".pt", ".bin")


def to_timm(folder: str | Path, out: str | Path) -> str:
    """Write the encoder as a file for `timm.create_model(..., checkpoint_path=...)`; return that call.

    The call hands timm the images' mean, std and size too, so that `timm.data.resolve_model_data_config` knows them.

    Args:
        folder: A checkpoint folder.
        out: .safetensors, or .pth, .pt, .bin for a bare state dict by torch.save.

    Raises:
        UserError: as `load_encoder`, another suffix, or an encoder that plain timm builds otherwise.
    """
    out = Path(out)
    if out.suffix not in (".safetensors", *PICKLED):
        raise UserError(f"{out}: timm tells files by their suffix; use .safetensors or {', '.join(PICKLED)}")
    encoder, meta, _ = load_encoder(folder)
    name, kwargs = meta["encoder"]["name"], meta["encoder"]["kwargs"]
    state = {key: value.contiguous() for key, value in encoder.state_dict().items()}
    load_exactly(timm.create_model(name, num_classes=0, **kwargs), state, what=f"{folder} for timm")
    side = meta["image"]["size"]
    data = {"mean": tuple(meta["image"]["mean"]), "std": tuple(meta["image"]["std"]), "input_size": (3, side, side)}
    with files.atomic_path(out) as temporary:
        if out.suffix == ".safetensors":
            save_file(state, temporary, metadata={"format": "pt", "pretrained_cfg": json.dumps(data)})
        else:
            torch.save(state, temporary)
    arguments = "".join(f", {key}={value!r}" for key, value in kwargs.items())
    arguments = f", num_classes=0, pretrained_cfg_overlay={data!r}{arguments}"
    return f"timm.create_model({name!r}, checkpoint_path={str(out)!r}{arguments})"


def to_safetensors(folder: str | Path, out: str | Path) -> str:
    """Write encoder (`encoder.*`) and, of a contrastive method, text tower into one file; return what it holds.

    The header's entry `densebench` is checkpoint.json as text.

    Raises:
        UserError: as `load_encoder`.
    """
    encoder, meta, _ = load_encoder(folder)
    state = {f"encoder.{key}": value.contiguous() for key, value in encoder.state_dict().items()}
    if meta["text"] is not None:
        state |= load_text_state(folder)[0]
    with files.atomic_path(out) as temporary:
        save_file(state, temporary, metadata={"densebench": json.dumps(meta)})
    return f"{out}: {len(state)} tensors, checkpoint.json in the header"
