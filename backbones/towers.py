"""Images and texts in the shared space of a contrastive checkpoint (CLIP and its relatives).

An image is resized on its short side and cut in the centre, as open_clip does for evaluation (bicubic, antialiased),
and normalised by the checkpoint's own mean and std. All embeddings have unit length.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.v2.functional import InterpolationMode, center_crop, resize

from backbones.checkpoint import load_encoder, load_text_state
from backbones.encoder import DEEPEST
from backbones.ledger import load_exactly
from backbones.preprocess import ImagePreprocessor
from backbones.text import TextTower, token_ids, tokenize
from engine.errors import UserError
from engine.transfer import moved


class Teacher(nn.Module):
    """An image and a text tower from a checkpoint folder, frozen.

    Raises:
        UserError: no checkpoint, or one without a text tower and an image projection.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.encoder, self.meta, _ = load_encoder(folder)
        state, _ = load_text_state(folder)
        if "image_projection.weight" not in state:
            raise UserError(f"checkpoint {folder} ({self.meta['method']}) has no image_projection: it is no teacher")
        text = self.meta["text"]
        self.text = text_tower(text, self.folder)
        shape = tuple(state["image_projection.weight"].shape)
        widths = {self.encoder.num_features, getattr(self.encoder, "head_hidden_size", None)}
        if len(shape) != 2 or shape[1] not in widths:
            raise UserError(f"checkpoint {folder}: image_projection.weight is {shape}, but the encoder gives "
                            f"{self.encoder.num_features} numbers; make it again")  # fmt: skip
        self.projection = nn.Linear(shape[1], text["embed_dim"], bias="image_projection.bias" in state)
        for part, start in ((self.text, "text."), (self.projection, "image_projection.")):
            found = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
            load_exactly(part, found, what=f"checkpoint {folder}, {start}*")
        image = self.meta["image"]
        self.size, self.width = image["size"], text["embed_dim"]
        self.preprocessor = ImagePreprocessor(image["mean"], image["std"])
        self.eval().requires_grad_(False)

    def embed_images(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, size, size] -> normalised embeddings [B, width]."""
        return F.normalize(self.projection(self.encoder(self.preprocessor.normalise(images))), dim=-1)

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """CLIP ids [B, T] -> normalised embeddings [B, width]."""
        return F.normalize(self.text(tokens), dim=-1)

    def identity(self) -> dict[str, Any]:
        """What the manifest says about this teacher."""
        meta = self.meta
        return {"folder": str(self.folder.resolve()), "method": meta["method"], "width": self.width, "size": self.size,
                "sha256": meta["sha256"]}  # fmt: skip


def text_tower(about: Mapping[str, Any], folder: Path) -> TextTower:
    """The text tower that a checkpoint describes, without its weights. UserError where there can be none like that."""
    layers = about["kwargs"].get("layers", 1)
    try:
        if layers > DEEPEST:
            raise ValueError(f"layers={layers}")
        if not isinstance(about["kwargs"].get("causal", True), bool):
            raise TypeError(f"causal={about['kwargs']['causal']}")
        return TextTower(embed_dim=about["embed_dim"], vocabulary=about["vocabulary"], **about["kwargs"])
    except Exception as error:  # whatever it makes of arguments that it was not written for
        raise UserError(f"checkpoint {folder} describes a text tower that cannot be built ({type(error).__name__}: "
                        f"{error}); make it again") from None  # fmt: skip


class Towers:
    """The image and the text tower of a checkpoint folder.

    Args:
        folder: a checkpoint of a method that matches images with texts.
        batch: images or texts in one forward pass.

    Attributes: model, both towers; meta, the checkpoint's `checkpoint.json`; size, pixels per side of an image; width,
    of the embeddings.

    Raises:
        UserError: no checkpoint, a damaged one, or one without a text tower; what it gives is not finite.
    """

    def __init__(self, folder: str | Path, batch: int = 128) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model, self.batch = Teacher(folder).to(self.device), batch
        self.meta, self.size, self.width = self.model.meta, self.model.size, self.model.width

    @torch.inference_mode()
    def embed_images(self, images: Iterable[np.ndarray]) -> Tensor:
        """RGB images, uint8 [H, W, 3] of any size -> embeddings [N, width] of unit length, float32 in main memory."""
        parts = squares(images, self.size, self.batch)
        with taken(self.size):
            found = [self.model.embed_images(moved(part, self.device)).cpu() for part in parts]
        return finite(torch.cat(found), self.meta) if found else torch.empty(0, self.width)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts -> embeddings [N, width] of unit length, float32 in main memory.

        Each distinct text is embedded once, so that equal texts have equal embeddings, bit by bit.
        """
        if not texts:
            return torch.empty(0, self.width)
        place = {text: k for k, text in enumerate(dict.fromkeys(texts))}
        context = self.model.text.context
        rows = torch.from_numpy(np.stack([tokenize(text, context) for text in place]))  # [distinct, context]
        found = torch.cat([self.model.embed_texts(moved(part, self.device)).cpu() for part in rows.split(self.batch)])
        return finite(found, self.meta)[torch.tensor([place[text] for text in texts])]

    def read(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """What the text tower reads of each text: its CLIP ids as far as the context reaches, unknown ones left out."""
        text = self.model.text
        known, reach = text.known(), text.context - 2  # start and end
        return [tuple(token for token in token_ids(one)[:reach] if token in known) for one in texts]

    def unknown_words(self, texts: Sequence[str]) -> list[str]:
        """The words of the texts, each once, of which a token is not in the text tower's vocabulary."""
        known, words = self.model.text.known(), dict.fromkeys(word for text in texts for word in text.split())
        return [word for word in words if not all(token in known for token in token_ids(word))]


class Features:
    """The encoder alone of any checkpoint folder: its pooled features, as a probe sees them.

    Args:
        folder: a checkpoint of any method. batch: images in one forward pass.

    Attributes: model, the encoder; meta, the checkpoint's `checkpoint.json`; size, pixels per side of an image; store,
    the folder beside the checkpoint where features may be kept.

    Raises:
        UserError: no checkpoint, or a damaged one; what it gives is not finite.
    """

    def __init__(self, folder: str | Path, batch: int = 128) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.store = Path(folder).absolute().parent / "features"
        encoder, self.meta, _ = load_encoder(folder)
        image = self.meta["image"]
        self.model = encoder.to(self.device).eval().requires_grad_(False)
        self.preprocessor = ImagePreprocessor(image["mean"], image["std"]).to(self.device)
        self.size, self.batch = image["size"], batch

    @torch.no_grad()  # and no inference mode: what is made there cannot be trained on
    def pool(self, images: Iterable[np.ndarray]) -> Tensor:
        """RGB images, uint8 [H, W, 3] of any size, at least one -> pooled features, float32 [N, D] in main memory."""
        parts = squares(images, self.size, self.batch)
        with taken(self.size):
            found = [self.model(self.preprocessor.normalise(moved(part, self.device))).float().cpu() for part in parts]
        return finite(torch.cat(found), self.meta)

    def embed_images(self, images: Iterable[np.ndarray]) -> Tensor:
        """RGB images, as in `pool` -> their pooled features at unit length."""
        return F.normalize(self.pool(images), dim=-1)


@contextlib.contextmanager
def taken(size: int) -> Iterator[None]:
    """Say in one sentence that an encoder does not take images of the size in its checkpoint.json; timm asserts it."""
    try:
        yield
    except AssertionError as error:
        raise UserError(
            f"checkpoint.json says images of {size} pixels a side, which its encoder does not take ({error}): convert "
            "or pretrain it again"
        ) from None


def finite(found: Tensor, meta: Mapping[str, Any]) -> Tensor:
    """What a checkpoint made of its inputs. UserError where a number is not finite: no measure could be believed."""
    if not found.isfinite().all():
        raise UserError(f"the {meta['method']} checkpoint gives features that are not finite: its training diverged or "
                        "its weights were damaged; test another")  # fmt: skip
    return found


def squares(images: Iterable[np.ndarray], size: int, batch: int) -> Iterator[Tensor]:
    """RGB images, uint8 [H, W, 3] -> uint8 [up to batch, 3, size, size]."""
    images = iter(images)
    while part := [to_square(image, size) for image in islice(images, batch)]:
        yield torch.stack(part)


def to_square(image: np.ndarray, size: int, short: int | None = None) -> Tensor:
    """RGB image, uint8 [H, W, 3] -> uint8 [3, size, size]: short side to `short` (default `size`), then the centre."""
    tensor, short = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1), short or size
    if min(tensor.shape[1:]) != short:
        tensor = resize(tensor, [short], InterpolationMode.BICUBIC, antialias=True)
    return center_crop(tensor, [size, size]).contiguous()
