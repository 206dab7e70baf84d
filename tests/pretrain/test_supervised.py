"""DeiT's recipe: mixed labels, the loss against float64, noise in random rectangles, RandAugment in the data."""

import numpy as np
import pytest
import torch

from engine.seeding import seed_everywhere
from pretrain.data.dataset import ImageFolder
from pretrain.methods.supervised import Supervised
from tests.pretrain.samples import ENCODER

CLASSES = 5
RECIPES = [dict(mixup=0.8, cutmix=1.0), dict(mixup=0.8), dict(cutmix=1.0), {}]


def build(**kwargs):
    torch.manual_seed(0)
    model = Supervised(encoder=ENCODER, num_classes=CLASSES, **kwargs).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


def batch(size=8):
    torch.manual_seed(1)
    return torch.randn(size, 3, 32, 32), torch.arange(size) % CLASSES


def by_hand(model, images, targets):
    """Mean cross-entropy of the model's scores for dense rows [B, classes], in float64."""
    with torch.no_grad():
        features = model.encoder(images).double().numpy()
    weight, bias = (p.detach().double().numpy() for p in (model.head.weight, model.head.bias))
    losses = []
    for row in range(len(images)):
        scores = weight @ features[row] + bias
        log_probability = scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())
        losses.append(-sum(targets[row][c] * log_probability[c] for c in range(CLASSES)))
    return np.mean(losses)


@pytest.mark.parametrize("recipe", RECIPES, ids=["both", "mixup", "cutmix", "neither"])
def test_the_loss_of_mixed_labels_by_hand(recipe, monkeypatch):
    """Label rows: the share of each partner in the pixels, over smoothed one-hot labels; they sum to 1."""
    model, (images, labels) = build(**recipe), batch()
    seen = {}

    def remember(pixels, targets, mix=model.classification.mix):
        seen["pixels"], seen["targets"] = mix(pixels, targets)
        return seen["pixels"], seen["targets"]

    if recipe:
        monkeypatch.setattr(model.classification, "mix", remember)
    seed_everywhere(3)
    loss = model(inputs={"image": images.clone(), "label": labels})["loss_class"]
    pixels = seen.get("pixels", images)
    share = 1.0
    if recipe:  # the share that the pixels show, found from them alone
        partner = images.flip(0)
        kept = (pixels == images).float().mean()
        share = float(kept) if kept > 0 else float(((pixels - partner) / (images - partner)).median())
        assert 0 < share < 1
    smoothed = np.full((CLASSES, CLASSES), 0.1 / CLASSES) + 0.9 * np.eye(CLASSES)
    targets = [share * smoothed[a] + (1 - share) * smoothed[b] for a, b in zip(labels, labels.flip(0), strict=True)]
    if recipe:
        torch.testing.assert_close(seen["targets"].sum(dim=1), torch.ones(8))
        np.testing.assert_allclose(seen["targets"], targets, atol=1e-3)
        targets = seen["targets"].double().numpy()
    assert float(loss) == pytest.approx(by_hand(model, pixels, targets), rel=1e-5)


def test_either_mixing_is_drawn_and_the_seed_decides():
    model, (images, labels) = build(mixup=0.8, cutmix=1.0), batch()
    kinds = set()
    for seed in range(12):
        drawn = []
        for _ in range(2):
            seed_everywhere(seed)
            drawn.append(model.classification.mix(images.clone(), labels))
        assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))
        pasted = float((drawn[0][0] == images).float().mean())
        kinds.add("cutmix" if pasted > 0 else "mixup")
    assert kinds == {"mixup", "cutmix"}


def test_erasing_puts_noise_into_some_rectangles(monkeypatch):
    model, (images, labels) = build(erasing=0.25), batch(64)
    seen = {}
    monkeypatch.setattr(model.encoder, "forward", lambda x: seen.update(x=x) or x.mean(dim=(2, 3)).repeat(1, 8))
    seed_everywhere(0)
    model(inputs={"image": images.clone(), "label": labels})
    changed = (seen["x"] != images).all(dim=1)  # [B, H, W]
    erased = [b for b in range(64) if changed[b].any()]
    assert 6 <= len(erased) <= 28, "a quarter, more or less"
    for b in erased:
        rows, columns = changed[b].any(dim=1).nonzero(), changed[b].any(dim=0).nonzero()
        block = changed[b, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert block.all() and block.numel() == changed[b].sum(), "one whole rectangle"
        assert 0.015 < block.numel() / 32**2 < 0.36
    noise = torch.cat([seen["x"][b][:, changed[b]].flatten() for b in erased])
    assert abs(float(noise.mean())) < 0.05 and float(noise.std()) == pytest.approx(1, abs=0.05)
    untouched = build()
    images, labels = batch(64)
    monkeypatch.setattr(untouched.encoder, "forward", lambda x: seen.update(x=x) or x.mean(dim=(2, 3)).repeat(1, 8))
    untouched(inputs={"image": images, "label": labels})
    assert torch.equal(seen["x"], batch(64)[0])


def test_rand_augment_of_the_data(scenes_root):
    root = str(scenes_root / "imagefolder/pretrain")
    transform = dict(auto_augment="rand-m9-mstd0.5-inc1", interpolation="bicubic")
    plain, augmented = ImageFolder(root, 64), ImageFolder(root, 64, transform=transform)
    items = []
    for seed in (0, 0, 1):
        seed_everywhere(seed)
        items.append(augmented[5])
    assert items[0]["image"].dtype == torch.uint8 and items[0]["image"].shape == (3, 64, 64)
    assert torch.equal(items[0]["image"], items[1]["image"]) and not torch.equal(items[0]["image"], items[2]["image"])
    assert items[0]["label"] == plain[5]["label"]
