"""t-SNE: the same map twice, groups that were planted, scalars against loops in float64."""

import cv2
import numpy as np
import pytest

from analysis import tsne
from analysis.tsne import embed, nearest_class
from datasets.images import read_rgb
from engine.errors import UserError


def groups(apart, count=20, width=12):
    """Two groups of unit vectors around directions that many units of noise apart, and their labels."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2 * count, width))
    features[:count, 0] += apart
    features[count:, 1] += apart
    return features / np.linalg.norm(features, axis=1, keepdims=True), np.repeat([0, 1], count)


def test_the_same_map_twice_and_planted_groups():
    features, labels = groups(apart=12)
    places = embed(features)
    assert places.shape == (40, 2) and np.array_equal(places, embed(features))
    centres = np.array([places[labels == label].mean(axis=0) for label in (0, 1)])
    near = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
    assert np.array_equal(near, labels)


def test_nearest_classes_against_a_loop():
    features, labels = groups(apart=1)
    expected = []
    for i in range(40):
        others = sorted((j for j in range(40) if j != i), key=lambda j: -(features[i] * features[j]).sum())
        votes = [labels[j] for j in others[:5]]
        expected.append(0 if votes.count(0) > votes.count(1) else 1)
    assert nearest_class(features, labels, neighbours=5).tolist() == expected


def by_loop(features, labels):
    """Silhouette of cosine distances, in plain numbers."""
    total = 0.0
    for i, mine in enumerate(labels):
        distance = [1 - sum(a * b for a, b in zip(features[i], other, strict=True)) for other in features]
        own = [distance[j] for j in range(len(labels)) if labels[j] == mine and j != i]
        others = [np.mean([d for d, label in zip(distance, labels, strict=True) if label == c])
                  for c in set(labels) - {mine}]  # fmt: skip
        a, b = np.mean(own), min(others)
        total += (b - a) / max(a, b)
    return total / len(labels)


def test_a_checkpoint(mae, tmp_path):
    """Two classes by brightness; the record's silhouette is that of the features, not of the map."""
    rng = np.random.default_rng(0)
    for name, level in (("bright", 200), ("dark", 20)):
        (tmp_path / name).mkdir()
        for k in range(18):
            image = rng.integers(level, level + 50, (32, 32, 3)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{k:02d}.png"), image)
    found = tsne.run(str(mae), str(tmp_path))
    features = tsne.Features(mae).embed_images(
        read_rgb(path) for path in sorted(tmp_path.glob("*/*.png"))
    ).double().numpy()  # fmt: skip
    labels = [0] * 18 + [1] * 18
    assert found.values["labels"] == labels and found.values["classes"] == ["bright", "dark"]
    assert found.scalars["silhouette"].value == pytest.approx(by_loop(features.tolist(), labels), abs=1e-6)
    near = []
    for i, feature in enumerate(features):
        others = sorted((j for j in range(36) if j != i), key=lambda j: -(feature * features[j]).sum())[:20]
        near.append(int(sum(labels[j] for j in others) > 10))
    hit = sum(a == b for a, b in zip(near, labels, strict=True)) / 36
    assert found.scalars["knn"].value == pytest.approx(100 * hit) and hit > 0.6
    assert tsne.run(str(mae), str(tmp_path), count=32).values["labels"] == [0] * 16 + [1] * 16  # at equal steps
    assert found.scalars["chance"].value == 50 and found == tsne.run(str(mae), str(tmp_path))
    with pytest.raises(UserError, match="needs more than 30 images, of two classes or more .* gives 10 of 2"):
        tsne.run(str(mae), str(tmp_path), count=10)
