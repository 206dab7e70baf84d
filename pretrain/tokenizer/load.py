"""Visual tokenizers: frozen dVAE encoders that name each 8 x 8 pixels of an image by a token id.

    tokenizer = build_tokenizer(dict(type="dalle", file="data/dalle/encoder.pkl"))   # OpenAI's, 8192 tokens
    tokenizer = build_tokenizer(dict(type="dvae", file=...))                         # the suite's own

`pretrain.fill` trains the suite's own on first use and fills in `file` (`pretrain.tokenizer.training`).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.errors import UserError
from pretrain.tokenizer.dvae import REDUCTION, Encoder, map_pixels

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

    def of_batch(self, inputs: Mapping[str, Tensor], grid: tuple[int, int]) -> Tensor:
        """Token ids int64 [B, N] of a batch: its "ids" where a token cache gave them, else those of its "pixels".

        Args:
            inputs: the batch.
            grid: the encoder's (rows, columns) of patches, which must be as many as the tokens.
        """
        if "ids" not in inputs and "pixels" not in inputs:
            raise UserError(
                'the batch has no pixels for the tokenizer: add pixels=dict(of="image", size=...) to '
                "train_dataloader.dataset.views"
            )
        ids = inputs["ids"] if "ids" in inputs else self.ids(inputs["pixels"])
        if ids.shape[1] != (patches := grid[0] * grid[1]):
            raise UserError(
                f"the tokenizer makes {ids.shape[1]} tokens of an image, the encoder {patches} patches: let the view "
                f"'pixels' have {grid[0] * self.reduction} pixels a side"
            )
        return ids


def build_tokenizer(spec: Mapping[str, Any]) -> Tokenizer:
    """Build a tokenizer from {"type": "dvae" or "dalle", "file": weights}; other entries are for its training.

    Raises:
        UserError: unknown type, no file, or a file that is not a dVAE encoder's.
    """
    if spec.get("type") not in TYPES:
        raise UserError(f"unknown tokenizer type {spec.get('type')!r}: choose {' or '.join(map(repr, TYPES))}")
    if not spec.get("file"):
        raise UserError(
            "the tokenizer has no weights: name them with model.tokenizer.file, or let pretrain.fill(cfg), which "
            "tools/train.py calls, train a tokenizer of type 'dvae'"
        )
    return Tokenizer(load_encoder_weights(Path(spec["file"])))


def load_encoder_weights(path: Path) -> Encoder:
    """The encoder in a file of DALL-E's layout; its width, depth and vocabulary are read off the shapes."""
    state = read_state(path)
    depth = sum(re.fullmatch(r"blocks\.group_1\.block_\d+\.res_path\.conv_1\.w", name) is not None for name in state)
    if missing := [name for name in ("blocks.input.b", "blocks.output.conv.b") if name not in state]:
        raise UserError(f"{path} is not a dVAE encoder of DALL-E's layout: it has no {missing[0]}")
    with torch.device("meta"):
        encoder = Encoder(len(state["blocks.output.conv.b"]), len(state["blocks.input.b"]), depth)
    wanted = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if differing := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        name = differing[0]
        raise UserError(
            f"{path} is not a dVAE encoder of DALL-E's layout: {name} is {found.get(name, 'missing')} instead of "
            f"{wanted.get(name, 'absent')}, {len(differing)} such entries in all"
        )
    encoder.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    return encoder


def read_state(path: Path) -> dict[str, Tensor]:
    """The encoder's tensors in a weights file, by their names in `Encoder`.

    A state dict may lie under "state_dict" or "model" and be that of a whole dVAE, whose encoder's names begin with
    "encoder.". OpenAI's own file is a pickled module: its classes are read as `Pickled`.
    """
    if not path.is_file():
        raise UserError(f"there is no tokenizer file {path}: fetch it or correct model.tokenizer.file")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            with torch.serialization.safe_globals(STAND_INS):
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in any of a dozen ways
        if foreign := re.search(r"GLOBAL (\S+) was not an allowed global", str(error)):
            raise UserError(
                f"{path} is a pickle of {foreign[1]}, which is not loaded: give a state dict, or OpenAI's encoder.pkl"
            ) from None
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path} cannot be read as weights ({reason}): is it whole? fetch it again") from None
    if isinstance(state, Pickled):
        state = dict(state.tensors())
    for wrapper in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict of a dVAE encoder, but {type(state).__name__}")
    own = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
    return own or dict(state)


class Pickled:
    """Stands for a module's class when a pickled module is read: it takes the attributes and runs none of its code."""

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Names and values of the parameters of this module and those inside."""
        attributes = vars(self)
        for name, value in attributes.get("_parameters", {}).items():
            yield prefix + name, value.detach()
        for name, module in attributes.get("_modules", {}).items():
            yield from module.tensors(f"{prefix}{name}.")


STAND_INS = [
    (Pickled, place)
    for place in (
        "dall_e.encoder.Encoder", "dall_e.encoder.EncoderBlock", "dall_e.utils.Conv2d",
        "torch.nn.modules.container.Sequential", "torch.nn.modules.activation.ReLU",
        "torch.nn.modules.pooling.MaxPool2d", "torch.nn.modules.linear.Identity",
    )
]  # fmt: skip
