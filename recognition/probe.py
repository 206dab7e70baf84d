"""Probes of a frozen encoder: BatchNorm and a linear layer on its pooled feature, or on what one query attends to.

Linear: facebookresearch/mae (main_linprobe.py), which CAE follows. Attentive: Atten4Vis/CAE (`AttentiveBlock` of
models/modeling_finetune.py): one learnable query, one cross-attention over all tokens with a LayerNorm before queries,
keys and values each, no MLP and no residual path, then the linear probe's two layers.

The published recipes draw a crop of every image anew in each epoch, so that the encoder runs on each of them; that is
scale "paper", by tools/train.py (`recognition.finetune`). Here the encoder sees every image once, in the way that it
sees test images.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from timm.optim import Lars
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from backbones import all_tokens, describe_encoder, pools_tokens
from backbones.towers import Features, finite, squares
from datasets.images import read_rgb
from engine.errors import UserError
from engine.outcome import Outcome
from engine.seeding import mix, seed_everywhere
from engine.transfer import moved
from recognition.feature_store import learnt_and_asked, pooled_features
from recognition.measures import Answer, accuracies

PART = Features
EPS = 1e-6  # of both norms, as published
MOMENTUM = 0.9


def run(cfg: Config, features: Features) -> Outcome:
    """Train a probe on a data set's training images and test it on its test images.

    Args:
        cfg: data, as in `learnt_and_asked`; seed, of the weights and of the order of images; and probe: kind ("linear"
            or "attentive"), optimizer ("lars" or "sgd"), lr (its peak), batch, epochs, and warm_up, the epochs of its
            rise. A batch larger than the training set is one of all images.
        features: of the checkpoint; "linear" takes its own pooled feature, "attentive" all its tokens.

    Raises:
        UserError: folders that cannot be read, or whose classes differ, or a loss that is not finite.
    """
    recipe = cfg.probe
    extract = tokens if recipe.kind == "attentive" else pooled_features
    (known, labels), (asked, truth), classes = learnt_and_asked(features, cfg.data, f"{recipe.kind} probe", extract)
    seed_everywhere(cfg.seed)
    head = build_probe(recipe.kind, known.shape[-1], classes).to(features.device)
    batch = min(recipe.batch, len(known))
    pace = fit(head, known, labels, {**recipe, "batch": batch}, cfg.seed)
    nearest = predict(head, asked, min(5, classes))
    steps = recipe.epochs * (len(known) // batch)
    settings = {"lr": recipe.lr, "iterations": steps, "global_batch": batch, "train_images": len(known)}
    return Outcome(accuracies([Answer(nearest, truth, classes)]), settings, pace)


class LinearProbe(nn.Module):
    """BatchNorm without affine parameters, then a linear layer of weights N(0, 0.01) and bias 0.

    Args:
        width: of the features. classes: how many.
        norm: False leaves the BatchNorm out, as MoCo v3 and SLIP do.
    """

    def __init__(self, width: int, classes: int, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False, eps=EPS) if norm else nn.Identity()
        self.linear = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, width] -> scores [B, classes]."""
        return self.linear(self.norm(features))


class AttentiveProbe(nn.Module):
    """One query's cross-attention over the tokens, then a `LinearProbe`.

    Every head is gcd(width, 64) wide, which is 64 at all published widths. Keys and values are linear in the tokens, so
    the key projection is applied to the query and the value projection to the attended mean: the same numbers with
    one product of token and query a head, where projecting all tokens would take thousands. A bias of the keys, or of
    the norm before them, would move the scores of all tokens alike, which softmax ignores; so there is none.

    Args:
        width: of the tokens. classes: how many.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.heads = width // math.gcd(width, 64)
        self.query = nn.Parameter(torch.zeros(width))
        self.norm_query = nn.LayerNorm(width, eps=EPS)
        # the affine parts of the norms before keys and values
        self.key_gain, self.value_gain = (nn.Parameter(torch.ones(width)) for _ in range(2))
        self.value_shift = nn.Parameter(torch.zeros(width))
        self.to_query, self.to_value, self.project = (nn.Linear(width, width) for _ in range(3))
        self.to_key = nn.Linear(width, width, bias=False)
        for layer in (self.to_query, self.to_key, self.to_value, self.project):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.classify = LinearProbe(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, T, width] -> scores [B, classes]."""
        return self.classify(self.attend(normalised(tokens.float())))

    def attend(self, tokens: Tensor) -> Tensor:
        """Normalised tokens [B, T, width] -> what the query sees [B, width]."""
        query = self.to_query(self.norm_query(self.query)).view(self.heads, -1)  # [h, w]
        keys, values = (layer.weight.view(*query.shape, -1) for layer in (self.to_key, self.to_value))  # [h, w, width]
        directions = torch.einsum("hw,hwd->hd", query, keys) * self.key_gain / math.sqrt(query.shape[1])  # [h, width]
        attention = (tokens @ directions.T).softmax(dim=1)  # [B, T, h]
        mean = (attention.transpose(1, 2) @ tokens) * self.value_gain + self.value_shift  # [B, h, width]
        seen = torch.einsum("bhd,hwd->bhw", mean, values).flatten(1) + self.to_value.bias  # [B, width]
        return self.project(seen)


def normalised(tokens: Tensor) -> Tensor:
    """Tokens [..., width] less their mean and divided by their deviation: a LayerNorm without its affine part."""
    return F.layer_norm(tokens, tokens.shape[-1:], eps=EPS)


def build_probe(kind: str, width: int, classes: int) -> nn.Module:
    """The probe of a kind, "linear", "plain" (without BatchNorm) or "attentive".

    Its weights come from torch's global generator. UserError for another kind.
    """
    kinds = {"linear": LinearProbe, "plain": partial(LinearProbe, norm=False), "attentive": AttentiveProbe}
    if kind not in kinds:
        raise UserError(f"there is no probe of kind {kind!r}: choose one of {', '.join(kinds)}")
    return kinds[kind](width, classes)


def build_optimizer(kind: str, parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """The optimizer of a probe, without weight decay.

    Args:
        kind: "lars" as in MAE's linear probing: SGD with momentum whose gradients of matrices are scaled by
            0.001 |weight| / |gradient|, those of vectors (biases) not. "sgd": with momentum alone.
        parameters: of the probe.
        lr: peak rate.
    """
    if kind not in ("lars", "sgd"):
        raise UserError(f"a probe trains by 'lars' or 'sgd', not {kind!r}")
    parameters = list(parameters)
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr, MOMENTUM)
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": matrices, "always_adapt": True}, {"params": vectors}]  # timm adapts decayed groups by itself
    return Lars(groups, lr, momentum=MOMENTUM, trust_coeff=0.001, eps=0.0)


def rate(done: float, warm_up: float) -> float:
    """Share of the peak rate after a share `done` of the training: a linear rise from 0, then half a cosine to 0."""
    if done < warm_up:
        return done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def batches(images: int, size: int, epochs: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Image numbers [size] of every step: each epoch in a drawn order, its last images dropped that fill no batch."""
    for _ in range(epochs):
        order = torch.randperm(images, generator=generator)
        yield from order[: images // size * size].split(size)


@torch.no_grad()  # and no inference mode: what is made there cannot be trained on
def tokens(features: Features, files: Sequence[Path]) -> Tensor:
    """Image files -> normalised tokens, float16 [N, T, d].

    The attentive probe begins with a LayerNorm; done here, half precision holds any encoder's tokens. Pooled features
    cost next to nothing more where they are made of the tokens, and are stored for the tests that read them.
    """
    model, facts, found, pooled = features.model, describe_encoder(features.model), [], []
    one = next(squares(map(read_rgb, files[:1]), features.size, 1)).to(features.device)
    sharing = pools_tokens(model, facts, features.preprocessor.normalise(one))
    with tqdm(total=len(files), desc="features", unit="img", leave=False) as bar:
        for part in squares(map(read_rgb, files), features.size, features.batch):
            every = all_tokens(model, facts, features.preprocessor.normalise(moved(part, features.device)))
            found.append(normalised(every.float()).half().cpu())
            if sharing:
                pooled.append(model.forward_head(every).float().cpu())
            bar.update(len(part))
    if sharing:
        pooled_features(features, files, made=finite(torch.cat(pooled), features.meta))
    return finite(torch.cat(found), features.meta)


def fit(head: nn.Module, features: Tensor, labels: Tensor, recipe: Mapping[str, Any], seed: int) -> float:
    """Train a probe in place; returns images per second.

    Args:
        head: on the device where it is trained.
        features: [N, ...] and labels: int64 [N], in main memory.
        recipe: as in `run`, its batch at most N.
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
        loss = F.cross_entropy(head(moved(features[chosen], device)), moved(labels[chosen], device))
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
    return torch.cat([head(moved(part, device)).topk(count, dim=1).indices.cpu() for part in features.split(1024)])
