"""Training a probe on cached features of un-augmented images, and testing it.

The published recipes draw a crop of every image anew in each epoch, so that the encoder runs on each of them; that is
scale "paper", by tools/train.py. Here the encoder sees every image once, in the way that it sees test images.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from backbones import all_tokens, describe_encoder
from backbones.towers import Features, finite, squares
from datasets.class_folders import train_and_test
from datasets.images import read_rgb
from engine.errors import UserError
from engine.seeding import mix, seed_everywhere
from recognition.evaluation import Answer, Measure, accuracies
from recognition.feature_store import pooled_features
from recognition.intervals import resamples
from recognition.probes import batches, build_optimizer, build_probe, normalised, rate


def probe(
    data: Mapping[str, Any], recipe: Mapping[str, Any], features: Features, seed: int
) -> tuple[list[Measure], dict[str, Any], float]:
    """Train a probe on a data set's training images and test it on its test images.

    Args:
        data: kind "image_folder", with train and test, each a folder with a folder per class.
        recipe: kind ("linear" or "attentive"), optimizer ("lars" or "sgd"), lr (its peak), batch, epochs, and warm_up,
            the epochs of its rise. A batch larger than the training set is one of all images.
        features: of the checkpoint; "linear" takes its own pooled feature, "attentive" all its tokens.
        seed: of the weights and of the order of images.

    Returns: (top1, mean_per_class, and top5 of more than five classes; the record's settings; images per second of
    training).

    Raises:
        UserError: folders that cannot be read, or whose classes differ, or a loss that is not finite.
    """
    train, test, names = train_and_test(data, f"{recipe['kind']} probe")
    extract = tokens if recipe["kind"] == "attentive" else pooled_features
    known, asked = (extract(features, [path for path, _ in part]) for part in (train, test))
    labels, truth = (torch.tensor([number for _, number in part]) for part in (train, test))
    seed_everywhere(seed)
    head = build_probe(recipe["kind"], known.shape[-1], len(names)).to(features.device)
    batch = min(recipe["batch"], len(known))
    pace = fit(head, known, labels, {**recipe, "batch": batch}, seed)
    nearest = predict(head, asked, min(5, len(names)))
    steps = recipe["epochs"] * (len(known) // batch)
    settings = {"lr": recipe["lr"], "iterations": steps, "batch_size": batch, "train_images": len(known)}
    return accuracies("", [Answer(nearest, truth, len(names))], resamples(len(truth))), settings, pace


@torch.no_grad()  # and no inference mode: what is made there cannot be trained on
def tokens(features: Features, files: list[Path]) -> Tensor:
    """Image files -> normalised tokens, float16 [N, T, d].

    The attentive probe begins with a LayerNorm; done here, half precision holds any encoder's tokens.
    """
    facts, found = describe_encoder(features.model), []
    with tqdm(total=len(files), desc="features", unit="img", leave=False) as bar:
        for part in squares(map(read_rgb, files), features.size, features.batch):
            images = features.preprocessor.normalise(part.to(features.device))
            found.append(normalised(all_tokens(features.model, facts, images).float()).half().cpu())
            bar.update(len(part))
    return finite(torch.cat(found), features.meta)


def fit(head: nn.Module, features: Tensor, labels: Tensor, recipe: Mapping[str, Any], seed: int) -> float:
    """Train a probe in place; returns images per second.

    Args:
        head: on the device where it is trained.
        features: [N, ...] and labels: int64 [N], in main memory.
        recipe: as in `probe`, its batch at most N.
        seed: of the order of images.
    """
    device = next(head.parameters()).device
    optimizer = build_optimizer(recipe["optimizer"], head.parameters(), recipe["lr"])
    generator = torch.Generator().manual_seed(mix(seed) >> 1)
    steps = recipe["epochs"] * (len(features) // recipe["batch"])
    warm_up, total = recipe["warm_up"] / recipe["epochs"], torch.zeros((), device=device)
    head.train()
    started = time.perf_counter()
    order: Iterator[Tensor] = batches(len(features), recipe["batch"], recipe["epochs"], generator)
    for step, chosen in enumerate(tqdm(order, total=steps, desc=f"{recipe['kind']} probe", unit="step", leave=False)):
        for group in optimizer.param_groups:
            group["lr"] = recipe["lr"] * rate(step / steps, warm_up)
        loss = F.cross_entropy(head(features[chosen].to(device)), labels[chosen].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
    if not torch.isfinite(total):
        raise UserError(f"the {recipe['kind']} probe's loss is not finite: lower probe.lr (now {recipe['lr']})")
    return steps * recipe["batch"] / (time.perf_counter() - started)


@torch.no_grad()
def predict(head: nn.Module, features: Tensor, count: int) -> Tensor:
    """The `count` best classes of each image, int64 [N, count], best first."""
    device = next(head.parameters()).device
    head.eval()
    return torch.cat([head(part.to(device)).topk(count, dim=1).indices.cpu() for part in features.split(1024)])
