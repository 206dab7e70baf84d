"""Train the suite's own dVAE on the images that a run will see, once, and keep its encoder beside the data.

`fill_tokenizer` is called by `pretrain.fill`. The encoder is stored as safetensors in DALL-E's layout; the JSON
beside it, written last, says how it was made and holds the checksum. A lock lets runs that start at the same time train
it once: the others wait.
"""

import contextlib
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmengine.registry import DATASETS
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from datasets.shards import cache_folder, fingerprint, list_shards
from engine.errors import UserError
from engine.files import atomic_path, locked, sha256, write_json
from engine.provenance import digest
from engine.seeding import seed_everywhere, seed_host
from pretrain.tokenizer.dvae import DVAE, REDUCTION, map_pixels

SCHEMA, VERSION = "densebench/tokenizer", 1


@dataclass(frozen=True)
class Recipe:
    """How a dVAE is trained: the entries of `model.tokenizer` of type "dvae".

    Attributes:
        vocabulary: number of tokens.
        width, depth: of the encoder, see `pretrain.tokenizer.dvae.Encoder`.
        steps, batch, crop: updates, windows in each and their side in pixels.
        images: how many images of the data are used.
        learning_rate: AdamW's at the start, with a short warm-up and a cosine to 0.
        temperature: (start, end) of Gumbel-softmax, geometric over the first 80 % of training.
        kl_weight: of the divergence from the uniform distribution, beside the squared error times 300.
        seed: of weights, choice of images, windows and noise.
    """

    vocabulary: int = 512
    width: int = 16
    depth: int = 1
    steps: int = 150
    batch: int = 64
    crop: int = 32
    images: int = 2048
    learning_rate: float = 3e-3
    temperature: tuple[float, float] = (1.0, 1 / 16)
    kl_weight: float = 1.0
    seed: int = 0

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "Recipe":
        """The recipe in a tokenizer's config; UserError for entries it does not know or that cannot be."""
        given = {
            name: tuple(v) if isinstance(v, list) else v for name, v in spec.items() if name not in ("type", "file")
        }
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(given) - set(known)):
            raise UserError(f"model.tokenizer has no {unknown[0]!r}: it takes type, file, {', '.join(known)}")
        recipe = cls(**given)
        if recipe.width % 4 or recipe.crop % REDUCTION or min(recipe.vocabulary - 1, recipe.steps, recipe.depth) < 1:
            raise UserError(
                f"model.tokenizer: width {recipe.width} must be a multiple of 4, crop {recipe.crop} of {REDUCTION}, "
                f"vocabulary {recipe.vocabulary} at least 2, steps {recipe.steps} and depth {recipe.depth} at least 1"
            )
        return recipe


def fill_tokenizer(model: dict[str, Any], dataset: dict[str, Any]) -> None:
    """Fill in `model.tokenizer.file` where the suite's own dVAE is asked for without one, training it if need be.

    Args:
        model: the model's config; without a tokenizer nothing happens.
        dataset: the training data's config, complete.
    """
    spec = model.get("tokenizer")
    if spec and spec.get("type") == "dvae" and not spec.get("file"):
        model["tokenizer"] = dict(type="dvae", file=str(ensure_dvae(Recipe.of(spec), dataset)))


def ensure_dvae(recipe: Recipe, dataset: Mapping[str, Any]) -> Path:
    """The file of the dVAE that `recipe` gives on these data; trained unless it is there and whole."""
    size = pixel_views(dataset)["pixels"].get("size", dataset["size"])
    folder, data = cache_folder(Path(dataset["root"])), data_fingerprint(dataset)
    settings = {**asdict(recipe), "size": size}
    path = folder / f"tokenizer-{data[:16]}-{digest([VERSION, settings])[:16]}.safetensors"
    with locked(folder / ".tokenizer.lock"):
        if not is_whole(path):
            model, quality = train(recipe, load_images(recipe, dataset, size))
            weights = {name: value.cpu().contiguous() for name, value in model.encoder.state_dict().items()}
            with atomic_path(path) as temporary:
                save_file(weights, temporary)
            about = {"schema": SCHEMA, "version": VERSION, "sha256": sha256(path), "settings": settings, "data": data}
            write_json(path.with_suffix(".json"), {**about, **quality})
    return path


def pixel_views(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The view "pixels" and the one whose window it shows, as plain dicts; UserError where there is none."""
    views = {name: dict(view) for name, view in (dataset.get("views") or {}).items()}
    if "pixels" not in views:
        raise UserError(
            'the data set has no pixels for the tokenizer: add pixels=dict(of="image", size=...) to '
            "train_dataloader.dataset.views"
        )
    return {name: views[name] for name in (views["pixels"].get("of"), "pixels") if name}


def data_fingerprint(dataset: Mapping[str, Any]) -> str:
    """Names, sizes and times of the shards or image files as one hash."""
    from pretrain.data.dataset import ImageFolder

    root = Path(dataset["root"])
    if dataset["type"] == "ImageTextShards":
        return fingerprint(list_shards(root, dataset["pattern"]))
    return fingerprint([Path(name) for name, _ in ImageFolder.scan(root)[1]])


def is_whole(path: Path) -> bool:
    """Whether a tokenizer is there with the checksum that its JSON states; a damaged one is trained anew."""
    try:
        about = json.loads(path.with_suffix(".json").read_text())
        return about["schema"] == SCHEMA and about["version"] == VERSION and sha256(path) == about["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def own_randomness() -> Iterator[None]:
    """Put the global generators back afterwards: a run is the same whether or not it had to train its tokenizer."""
    before, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(before)
    np.random.set_state(numpy_state)


def pixel_dataset(dataset: Mapping[str, Any], views: Mapping[str, Any]) -> Dataset:
    """The data set of a run, giving the pictures of `views` alone."""
    kept = ("type", "root", "size", "pattern", "name", "corrupt_log", "max_corrupt")
    return DATASETS.build({**{key: dataset[key] for key in kept if key in dataset}, "views": views})


def load_images(recipe: Recipe, dataset: Mapping[str, Any], size: int) -> Tensor:
    """Pictures of images drawn from the data, uint8 [n, 3, size, size].

    Their crops are the same for all methods, so that methods with token views of one size share a tokenizer.
    """
    data = pixel_dataset(dataset, {"pixels": {"size": size, "scale": (0.2, 1.0), "flip": 0.5}})
    chosen = np.random.default_rng(recipe.seed).permutation(len(data))[: recipe.images].tolist()
    made = []
    with own_randomness():
        for index in tqdm(chosen, desc="images for the visual tokenizer", unit="img", disable=len(chosen) < 64):
            seed_host(recipe.seed, index)
            made.append(data[index]["pixels"])
    return torch.stack(made)


def train(recipe: Recipe, images: Tensor) -> tuple[DVAE, dict[str, float]]:
    """Train a dVAE on windows of images [n, 3, h, w]; the model and what it reaches.

    Raises:
        UserError: it names every place alike.
    """
    device = get_device()
    crop = min(recipe.crop, *(side // REDUCTION * REDUCTION for side in images.shape[2:]))
    with own_randomness():
        seed_everywhere(recipe.seed)
        model = DVAE(recipe.vocabulary, recipe.width, recipe.depth)
        model.start_from(map_pixels(images[:64]))
        model.to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=1e-4)
        start, end = recipe.temperature
        bar = tqdm(range(recipe.steps), desc="visual tokenizer", unit="step", disable=recipe.steps < 10)
        for step in bar:
            share = step / recipe.steps
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * min(1.0, (step + 1) / 20) * (1 + math.cos(math.pi * share)) / 2
            chosen = torch.randint(len(images), (recipe.batch,))
            top, left = (int(torch.randint(side - crop + 1, ())) for side in images.shape[2:])
            window = map_pixels(images[chosen, :, top : top + crop, left : left + crop].to(device))
            temperature = start * (end / start) ** min(1.0, share / 0.8)
            error, divergence = model(window, temperature)
            optimizer.zero_grad()
            (300 * error + recipe.kl_weight * divergence).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    quality = measure(model.eval(), images[-256:].to(device))
    if not quality["perplexity"] > 2:
        raise UserError(
            f"the visual tokenizer gives nearly all places the same token (perplexity {quality['perplexity']:.2f}): "
            "raise model.tokenizer.kl_weight or steps, or choose another model.tokenizer.seed"
        )
    return model, quality


@torch.no_grad()
def measure(model: DVAE, images: Tensor) -> dict[str, float]:
    """Mean squared error of the reconstruction from tokens, and the perplexity of the tokens' frequencies."""
    pixels = map_pixels(images)
    ids = model.encoder(pixels).argmax(dim=1)  # [n, h / 8, w / 8]
    codes = F.one_hot(ids, model.encoder.vocabulary).permute(0, 3, 1, 2).float()
    share = torch.bincount(ids.flatten(), minlength=model.encoder.vocabulary) / ids.numel()
    return {
        "squared_error": float(F.mse_loss(model.decoder(codes), pixels)),
        "perplexity": float(torch.special.entr(share).sum().exp()),
        "tokens_used": int((share > 0).sum()),
    }
