"""Visual tokenizers: frozen dVAE encoders that name each 8 x 8 pixels of an image by a token id.

    tokenizer = build_tokenizer(dict(type="dalle", file="data/dalle/encoder.pkl"))   # OpenAI's, 8192 tokens
    tokenizer = build_tokenizer(dict(type="dvae", file=...))                         # the suite's own

`pretrain.complete` trains the suite's own on first use and fills in `file` (`pretrain.tokenizer_training`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import UserError
from pretrain.dvae import REDUCTION, Encoder, map_pixels

TYPES = ("dvae", "dalle")


class Tokenizer(nn.Module):
    """A frozen dVAE encoder. Its weights are non-persistent buffers.

    So they follow the module that holds the tokenizer from device to device, but are neither learned nor part of its
    state.

    Args:
        encoder: the encoder, which this takes over.
    """

    reduction = REDUCTION

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.vocabulary = encoder.vocabulary
        for module in encoder.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, parameter.detach(), persistent=False)
        self.encoder = encoder

    @torch.no_grad()
    def ids(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, h, w] -> token ids int64 [B, (h / 8) * (w / 8)], row by row.

        In float32 also under autocast: a token must not depend on the precision of the run.
        """
        if pixels.dtype != torch.uint8 or pixels.shape[-1] % REDUCTION or pixels.shape[-2] % REDUCTION:
            raise ValueError(f"the tokenizer wants uint8 of a size divisible by 8, not {pixels.dtype} {pixels.shape}")
        with torch.autocast(pixels.device.type, enabled=False):
            return self.encoder(map_pixels(pixels)).argmax(dim=1).flatten(1)


def build_tokenizer(spec: Mapping[str, Any]) -> Tokenizer:
    """Build a tokenizer from {"type": "dvae" or "dalle", "file": weights}; other entries are for its training.

    Raises:
        UserError: unknown type, no file, or a file that is not a dVAE encoder's.
    """
    if spec.get("type") not in TYPES:
        raise UserError(f"unknown tokenizer type {spec.get('type')!r}: choose {' or '.join(map(repr, TYPES))}")
    if not spec.get("file"):
        raise UserError(
            "the tokenizer has no weights: name them with model.tokenizer.file, or let pretrain.complete(cfg), which "
            "tools/train.py calls, train a tokenizer of type 'dvae'"
        )
    return Tokenizer(load_encoder_weights(Path(spec["file"])))


def load_encoder_weights(path: Path) -> Encoder:
    """The encoder in a file of DALL-E's layout; its width, depth and vocabulary are read off the shapes."""
    state = read_state(path)
    names = [name for name in state if re.fullmatch(r"blocks\.group_1\.block_\d+\.res_path\.conv_1\.w", name)]
    try:
        vocabulary, width = len(state["blocks.output.conv.b"]), len(state["blocks.input.b"])
        with torch.device("meta"):
            encoder = Encoder(vocabulary, width, len(names))
        encoder.load_state_dict(state, assign=True)
    except (KeyError, RuntimeError, TypeError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is not a dVAE encoder of DALL-E's layout: {reason}") from None
    return encoder


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of a weights file."""
    if not path.is_file():
        raise UserError(f"there is no tokenizer file {path}: fetch it or correct model.tokenizer.file")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    return dict(state)
