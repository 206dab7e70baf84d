"""A published folder: weights beside the JSON that says what they do not tell.

Hugging Face's CLIPModel has config.json, open_clip's models have open_clip_config.json.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from backbones.convert import hf_clip
from backbones.convert.source import read_source
from engine.errors import UserError

CONFIGS = {"open_clip_config.json": "open_clip", "config.json": "hf_clip"}  # the second may stand beside the first
WEIGHTS = {
    "open_clip": ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
    "hf_clip": ("model.safetensors", "pytorch_model.bin"),
}


def read_folder(folder: str | Path) -> tuple[dict[str, Tensor], str, dict[str, Any], dict[str, Any]]:
    """Return (key -> tensor, format, arguments of its `convert`, mean, std and size of the images where stated).

    Raises:
        UserError: no configuration or weights of either kind, or a model that is no CLIP.
    """
    folder = Path(folder)
    name = next((name for name in CONFIGS if (folder / name).is_file()), None)
    if name is None:
        raise UserError(f"{folder} has neither {' nor '.join(CONFIGS)}; name the weights' file or the whole folder")
    format = CONFIGS[name]
    weights = next((folder / file for file in WEIGHTS[format] if (folder / file).is_file()), None)
    if weights is None:
        raise UserError(f"{folder} lacks {' and '.join(WEIGHTS[format])}; download the weights beside {name}")
    config = _read_json(folder / name)
    if format == "open_clip":
        image = config.get("preprocess_cfg") or {}
        return read_source(weights), format, _open_clip_options(config, folder / name), _image(image, "mean", "std")
    if config.get("model_type") != "clip":
        raise UserError(
            f"{folder / name} is of a {config.get('model_type')} model; only CLIPModel folders are converted"
        )
    image = folder / "preprocessor_config.json"
    image = _read_json(image) if image.is_file() else {}
    return read_source(weights), format, hf_clip.folder_options(config), _image(image, "image_mean", "image_std")


def _open_clip_options(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Arguments of `open_clip.convert` from its configuration, whose left-out values are open_clip's own."""
    model = config.get("model_cfg", config)
    try:
        vision, text = model["vision_cfg"], model["text_cfg"]
    except (KeyError, TypeError):
        raise UserError(f"{path} has no vision_cfg and text_cfg; is it open_clip's?") from None
    options = {"quick_gelu": model.get("quick_gelu", False), "causal": not text.get("no_causal_mask", False)}
    options["text_heads"] = text.get("heads", 8)
    if "timm_model_name" in vision:
        return {**options, "trunk": vision["timm_model_name"], "size": vision.get("image_size", 224)}
    return {**options, "heads": vision.get("width", 768) // vision.get("head_width", 64)}


def _image(config: Mapping[str, Any], mean: str, std: str) -> dict[str, Any]:
    """The normalisation, where the configuration has it."""
    return {name: list(config[key]) for name, key in (("mean", mean), ("std", std)) if key in config}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); download it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON object; download it again")
    return content
