"""A published folder: weights beside the JSON that says what they do not tell.

open_clip's models have open_clip_config.json; timm's and Hugging Face's have config.json, timm's with an
`architecture`. Large models are cut into several files, which an index lists.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from backbones.convert import hf_clip, hf_vision
from backbones.convert.open_clip_config import open_clip_options
from backbones.convert.source import read_with_notes
from engine.errors import UserError

OPEN_CLIP, CONFIG = "open_clip_config.json", "config.json"  # the second may stand beside the first
WEIGHTS = {
    OPEN_CLIP: ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
    CONFIG: ("model.safetensors", "pytorch_model.bin"),
}


class Folder(NamedTuple):
    """What a folder holds: tensors, notes on what was left out, format, arguments of its `convert`, image constants."""

    tensors: dict[str, Tensor]
    notes: dict[str, str]
    format: str
    options: dict[str, Any]
    image: dict[str, Any]


def read_folder(folder: str | Path) -> Folder:
    """Read a folder of open_clip's, timm's or Hugging Face's.

    Raises:
        UserError: no configuration or weights of any of these kinds, or a model that is not converted.
    """
    folder = Path(folder)
    name = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    if name is None:
        raise UserError(f"{folder} has neither {' nor '.join(WEIGHTS)}; name the weights' file or the whole folder")
    config = read_json(folder / name)
    try:
        format, options, image = _told(folder, name, config)
    except UserError:
        raise
    except Exception as error:  # what fields of another kind than expected make of the reading
        raise UserError(f"{folder / name} describes no model that is read here ({type(error).__name__}: {error}); "
                        "download it again") from None  # fmt: skip
    tensors, notes = _read_weights(folder, WEIGHTS[name])
    return Folder(tensors, notes, format, options, image)


def _told(folder: Path, name: str, config: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(format, arguments of its `convert`, image constants) that the configuration `name` tells."""
    if name == OPEN_CLIP:
        stated = config.get("preprocess_cfg") or {}
        return "open_clip", open_clip_options(config, folder / name), _image(stated, "mean", "std")
    if "architecture" in config:
        return "timm", _timm_options(config, folder / name), {}
    beside = folder / "preprocessor_config.json"
    image = _image(read_json(beside), "image_mean", "image_std") if beside.is_file() else {}
    return *_transformers_options(config, folder / name), image


def _transformers_options(config: Mapping[str, Any], path: Path) -> tuple[str, dict[str, Any]]:
    """(format, arguments) of a model of Hugging Face's transformers."""
    kind = config.get("model_type")
    if kind == "clip":
        return "hf_clip", hf_clip.folder_options(config)
    if kind in hf_vision.KINDS:
        return "hf_vision", {"config": dict(config)}
    known = ", ".join(("clip", *hf_vision.KINDS))
    raise UserError(f"{path} is of a {kind} model; those that are converted are {known}, and timm's")


def _timm_options(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Arguments of `timm.convert` from the configuration of a hub folder of timm's."""
    facts = {**config, **(config.get("pretrained_cfg") or {})}  # older folders have no level of its own
    missing = [key for key in ("mean", "std", "input_size") if key not in facts]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}, without which images cannot be normalised; is it timm's?")
    return {
        "model": config["architecture"], "mean": facts["mean"], "std": facts["std"], "size": facts["input_size"][-1],
        "kwargs": dict(config.get("model_args") or {}),
    }  # fmt: skip


def _read_weights(folder: Path, names: tuple[str, ...]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and notes of the first of the files that is there, whole or in parts."""
    for name in names:
        if (folder / name).is_file():
            return read_with_notes(folder / name)
        if (folder / f"{name}.index.json").is_file():
            return _read_parts(folder, f"{name}.index.json"), {}
    raise UserError(f"{folder} lacks {' and '.join(names)}; download the weights beside the configuration")


def _read_parts(folder: Path, index: str) -> dict[str, Tensor]:
    """The tensors of all parts that an index lists, each from the part that it names."""
    where = read_json(folder / index).get("weight_map")
    if not isinstance(where, dict) or not all(Path(str(part)).name == part for part in where.values()):
        raise UserError(f"{folder / index} has no weight_map from keys to files beside it; download it again")
    tensors: dict[str, Tensor] = {}
    for part in sorted(set(where.values())):
        found, _ = read_with_notes(folder / part)
        listed = {key for key, file in where.items() if file == part}
        if listed != set(found):
            raise UserError(
                f"{folder / part} does not hold the tensors that {index} lists for it (such as "
                f"{min(listed ^ set(found))}); download the folder again"
            )
        tensors |= found
    return tensors


def _image(config: Mapping[str, Any], mean: str, std: str) -> dict[str, Any]:
    """The normalisation, where the configuration has it."""
    return {name: list(config[key]) for name, key in (("mean", mean), ("std", std)) if key in config}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; UserError for anything else."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); download it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON object; download it again")
    return content
