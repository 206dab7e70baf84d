"""The checkpoint folder: encoder.safetensors (timm keys), checkpoint.json (checkpoint_schema.json), text.safetensors.

One writer and one reader. The writer builds the folder aside, flushes it and renames it into place; a folder that is
replaced waits beside as `.<name>.old` until the new one stands, and whoever comes next puts it back if the writer died
between the two renames. The reader refuses whatever it does not understand and any file whose checksum differs.
"""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backbones.encoder import build_encoder
from backbones.ledger import Ledger, Rules, load_exactly
from backbones.positions import POSITION_KEY, position_layout, resize_positions
from backbones.relative_positions import table_rules
from backbones.tensors import read_tensors
from engine import files
from engine.errors import UserError
from engine.finite import faults, listed
from engine.run_path import parse_checkpoint

SCHEMA = "densebench/checkpoint"
VERSION = 1
META, ENCODER, TEXT = "checkpoint.json", "encoder.safetensors", "text.safetensors"


def save_checkpoint(
    folder: str | Path, encoder: nn.Module, meta: Mapping[str, Any], text_state: Mapping[str, Tensor] | None = None
) -> dict[str, Any]:
    """Write a checkpoint folder atomically; an older checkpoint at that place is replaced only by a whole new one.

    Args:
        folder: Place of the checkpoint.
        encoder: Module with exactly the keys of `build_encoder(**meta["encoder"])`; wrappers taken off.
        meta: Every field of checkpoint_schema.json but schema, version and sha256.
        text_state: Text tower, projections and logit_scale of a contrastive method; given exactly if meta["text"] is.

    Returns:
        The meta data as written, with schema, version and sha256.

    Raises:
        UserError: meta data that the schema refuses, or an encoder that is not the one meta names.
    """
    folder = Path(folder).absolute()
    if (meta.get("text") is None) != (text_state is None):
        raise UserError(f"checkpoint {folder}: text weights and meta['text'] belong together; give both or neither")
    try:
        meta = {"schema": SCHEMA, "version": VERSION, **json.loads(json.dumps(meta, allow_nan=False))}
    except ValueError:
        raise UserError(
            f"checkpoint {folder}: its meta data hold a number that is not finite; correct its source"
        ) from None
    _validate({**meta, "sha256": {ENCODER: "0" * 64}}, folder)
    state = _plain(encoder.state_dict())
    if broken := faults({**state, **(text_state or {})}):
        raise UserError(f"checkpoint {folder}: {listed(broken)} is not finite; nothing was written")
    # A folder that cannot be loaded again must never be written: try it on a fresh encoder first.
    load_exactly(build_encoder(**meta["encoder"]), state, what=f"checkpoint {folder}")
    with files.whole_folder(folder, replace=True) as new:
        save_file(state, new / ENCODER)
        if text_state is not None:
            save_file(_plain(text_state), new / TEXT)
        meta["sha256"] = {path.name: files.sha256(path) for path in sorted(new.iterdir())}
        (new / META).write_text(json.dumps(files.sealed(meta), indent=1, allow_nan=False) + "\n")
    return meta


def read_checkpoint(folder: str | Path, encoder: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read and verify a checkpoint's meta data and the checksums of its files.

    Args:
        folder: The checkpoint folder.
        encoder: {"name", "kwargs"} that the checkpoint must hold, if the caller needs a certain one.

    Raises:
        UserError: missing folder or file, unknown schema or version, broken JSON, a field that the schema refuses,
            a damaged file, another encoder than asked for.
    """
    if not checkpoint_exists(folder):
        raise UserError(missing_checkpoint_message(folder))
    folder = Path(folder).absolute()
    meta = _read_meta(folder)
    for name, expected in meta["sha256"].items():
        if not (folder / name).is_file():
            raise UserError(f"checkpoint {folder} lacks {name}; copy or make the checkpoint again")
        if not files.has_sha256(folder / name, expected):
            raise UserError(f"{folder / name} is truncated or altered (sha256 differs); copy or make it again")
    if encoder is not None and json.loads(json.dumps(encoder)) != meta["encoder"]:
        raise UserError(
            f"checkpoint {folder} holds the encoder {_call(meta['encoder'])}, but {_call(encoder)} is wanted; "
            "use a checkpoint of that encoder"
        )
    return meta


def _read_meta(folder: Path) -> dict[str, Any]:
    """checkpoint.json of a folder, without its seal; UserError for one that is none, or none of this version."""
    if not (folder / META).is_file():
        raise UserError(f"{folder} is not a checkpoint: it has no {META}; name the folder that holds that file")
    try:
        meta = json.loads((folder / META).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{folder / META} is damaged ({error}); copy or make the checkpoint again") from error
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        raise UserError(f"{folder / META} is not a {SCHEMA} file; name the folder of a DenseBench checkpoint")
    if meta.get("version") != VERSION:
        raise UserError(
            f"{folder / META} has version {meta.get('version')!r}, this program reads version {VERSION}; "
            "use the DenseBench release that wrote it"
        )
    _validate(meta, folder)
    if not files.seal_holds(meta):
        raise UserError(f"{folder / META} was altered after it was written (checksum differs); make it again")
    meta.pop(files.SEAL, None)
    return meta


def load_encoder(folder: str | Path, **overrides: Any) -> tuple[nn.Module, dict[str, Any], Ledger]:
    """Build the checkpoint's encoder and fill it with its weights.

    Args:
        folder: The checkpoint folder.
        overrides: Encoder arguments that replace the stored ones (None: timm's default), such as drop_path_rate, or
            img_size: positions are then resized by the policies of backbones/positions.py and relative_positions.py.

    Returns:
        (encoder, meta data, ledger).

    Raises:
        UserError: as `read_checkpoint` and `build_encoder`, and weights that do not fit the encoder.
    """
    meta = read_checkpoint(folder)
    encoder = build_encoder(meta["encoder"]["name"], {**meta["encoder"]["kwargs"], **overrides})
    return encoder, meta, _fill_from(encoder, folder, meta)


def load_into(encoder: nn.Module, folder: str | Path) -> Ledger:
    """Fill an encoder of the caller's own with a checkpoint's weights; positions are resized where the grids differ.

    Raises:
        UserError: as `read_checkpoint`, and weights that do not fit the encoder.
    """
    return _fill_from(encoder, folder, read_checkpoint(folder))


def _fill_from(encoder: nn.Module, folder: str | Path, meta: Mapping[str, Any]) -> Ledger:
    with torch.device("meta"):
        written = build_encoder(**meta["encoder"])
    resize = table_rules(encoder, written)
    stored, wanted = position_layout(written), position_layout(encoder)
    if stored and wanted:
        resize[POSITION_KEY] = lambda table, _: resize_positions(table, wanted[0], *stored)
    state = read_tensors(Path(folder) / ENCODER)
    return load_exactly(encoder, state, Rules(resize=resize), what=f"checkpoint {folder} ({meta['encoder']['name']})")


def load_text_state(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (text weights, meta data) of a contrastive method's checkpoint. UserError if it holds no text tower."""
    meta = read_checkpoint(folder)
    if meta["text"] is None:
        raise UserError(f"checkpoint {folder} ({meta['method']}) has no text tower; use one of a contrastive method")
    return read_tensors(Path(folder) / TEXT), meta


def checkpoint_exists(folder: str | Path) -> bool:
    """Whether a checkpoint folder stands at that place (after putting back one that a dead writer had moved aside)."""
    files.restore_folder(Path(folder).absolute())
    return Path(folder).is_dir()


def missing_checkpoint_message(
    folder: str | Path, method: str | None = None, scale: str | None = None, seed: int | None = None
) -> str:
    """One line that names the missing folder and the command that makes it; for the name of published weights, the
    command that converts them.

    What is not given is read off the default place, runs/<scale>/pretrain/<method>/seed<seed>/checkpoint.
    """
    published = re.fullmatch(r"(?:(timm|hf|hf-hub|hf_hub):)?(?:timm/)?([\w./-]+)", str(folder))
    if published and (published[1] or timm.is_model(published[2].split(".")[0])):
        kind = "hf" if (published[1] or "timm").startswith("hf") else "timm"
        command = f"python tools/convert.py {kind}:{published[2]} FOLDER"
        return f"{folder} is no checkpoint folder; convert published weights first, `{command}`, and name that folder"
    place = parse_checkpoint(folder)
    default = (place.place, place.method, place.seed) if place else ("<scale>", "<method>", "<seed>")
    scale, method = scale or default[0], method or default[1]
    seed = default[2] if seed is None else seed
    if place and "-" in place.method:  # pretrained in a way of its own, which the study's file says
        return (
            f"checkpoint {folder} does not exist; run the study again that pretrains it, `python tools/study.py FILE`"
        )
    command = f"python tools/train.py pretrain/configs/{method}.py --scale {scale} --seed {seed}"
    return f"checkpoint {folder} does not exist; make it with `{command}`"


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Independent contiguous copies in main memory: safetensors stores no shared storage."""
    return {key: tensor.detach().cpu().contiguous().clone() for key, tensor in state.items()}


def _call(encoder: Mapping[str, Any]) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in encoder["kwargs"].items())
    return f"{encoder['name']}({arguments})"


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(Path(__file__).with_name("checkpoint_schema.json").read_text()))


def _validate(meta: Mapping[str, Any], folder: Path) -> None:
    error = jsonschema.exceptions.best_match(_validator().iter_errors(meta))
    if error is not None:
        message = error.message if len(error.message) < 200 else f"{error.message[:200]}..."
        raise UserError(f"checkpoint {folder}: {error.json_path} is refused ({message}); see checkpoint_schema.json")
