"""Ranks against a sorted list per query, with ties, several captions and any block size; whole tests on the scenes."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch.nn.functional import normalize

from backbones.towers import Towers
from datasets.captioned import CaptionedImages
from engine.errors import UserError
from recognition.retrieval import both_directions, captions_of, ranks, run


def brute(queries, gallery, relevant):
    """Position of the first right answer when the gallery is sorted by score, then by place."""
    found = []
    for query, right in zip(queries.double().numpy(), relevant, strict=True):
        scores = [float(np.dot(query, item)) for item in gallery.double().numpy()]
        order = sorted(range(len(scores)), key=lambda k: (-scores[k], k))
        found.append(min(order.index(k) for k in right))
    return found


@pytest.mark.parametrize("memory", [1, 3000, 2**28], ids=["one row", "some rows", "all"])
def test_both_directions_against_sorting(memory):
    generator = torch.Generator().manual_seed(3)
    images = normalize(torch.randn(37, 16, generator=generator), dim=-1)
    owner = torch.cat([torch.arange(37), torch.randint(37, (60,), generator=generator)])
    owner = owner[torch.randperm(97, generator=generator)].tolist()
    texts = normalize(images[owner] + 0.5 * torch.randn(97, 16, generator=generator), dim=-1)
    to_text, to_image = both_directions(images, texts, owner, memory)
    assert to_text.tolist() == brute(images, texts, [[t for t, o in enumerate(owner) if o == i] for i in range(37)])
    assert to_image.tolist() == brute(texts, images, [[o] for o in owner])
    assert 0 < (to_image == 0).float().mean() < 1


@pytest.mark.parametrize("memory", [1, 500, 2**28])
def test_equal_scores_rank_by_place(memory):
    """Small whole numbers give exact and frequent ties, and many rows that repeat."""
    generator = torch.Generator().manual_seed(4)
    queries = torch.randint(-1, 2, (30, 3), generator=generator).float()
    gallery = torch.randint(-1, 2, (50, 3), generator=generator).float()
    relevant = torch.stack([torch.randperm(50, generator=generator)[:3].sort().values for _ in range(30)])
    relevant[::2, 2] = -1
    expected = brute(queries, gallery, [[k for k in row if k >= 0] for row in relevant.tolist()])
    assert ranks(queries, gallery, relevant, memory).tolist() == expected


def test_ties_by_hand():
    gallery = torch.tensor([[1.0], [2.0], [1.0], [1.0]])
    ranked = ranks(torch.ones(3, 1), gallery, torch.tensor([[0, -1], [2, 3], [3, -1]]))
    assert ranked.tolist() == [1, 2, 3]


def test_repeated_real_rows_tie_exactly():
    """Equal captions never differ by rounding, wherever they stand in the product."""
    row = normalize(torch.randn(1, 511, generator=torch.Generator().manual_seed(5)), dim=-1)
    ranked = ranks(row, row.repeat(203, 1), torch.arange(203).flip(0)[:1, None])
    assert ranked.tolist() == [202]


def test_captions_of():
    assert captions_of([1, 0, 1, 2], 3).tolist() == [[1, -1], [0, 2], [3, -1]]
    with pytest.raises(UserError, match="text 1 belongs to image 3, but there are 3 images"):
        captions_of([0, 3], 3)


def test_bad_embeddings_are_refused():
    with pytest.raises(UserError, match="item 1 has no counterpart"):
        both_directions(torch.ones(2, 2), torch.ones(1, 2), [0])
    with pytest.raises(UserError, match="gallery are not finite"):
        both_directions(torch.ones(1, 2), torch.full((1, 2), torch.nan), [0])


def test_retrieval_on_the_scenes(scenes_root, clip):
    data = {"kind": "image_text", "root": scenes_root / "shards", "pattern": "test-*.tar"}
    found = run(Config(dict(data=data, captions="aligned", prefix="")), Towers(clip[0])).measures
    assert [m.name for m in found[:3]] == ["image_to_text_R1", "image_to_text_R5", "image_to_text_R10"]
    assert found[2].value == found[5].value == 100  # 8 images
    assert found[0].chance == found[3].chance == pytest.approx(12.5)

    listed = CaptionedImages(data["root"], data["pattern"], "aligned")
    towers = Towers(clip[0])
    scores = towers.embed_images(listed.images()) @ towers.embed_texts(listed.texts).T
    assert found[0].value == pytest.approx(100 * float((scores.argmax(1) == torch.arange(8)).float().mean()))
    assert found[3].value == pytest.approx(100 * float((scores.argmax(0) == torch.arange(8)).float().mean()))


def test_a_prefix_stands_before_each_caption(scenes_root):
    heard = []

    class Listening:
        def embed_images(self, images):
            return torch.eye(8)[: len([*images])]

        def embed_texts(self, texts):
            heard.extend(texts)
            return torch.eye(8)

        def read(self, texts):
            return [*texts]

    data = {"kind": "image_text", "root": scenes_root / "shards", "pattern": "test-*.tar"}
    for prefix in ("", "a photo of"):
        run(Config(dict(data=data, captions="aligned", prefix=prefix)), Listening())
    assert heard[8:] == [f"a photo of {text}" for text in heard[:8]] and not heard[0].startswith("a photo of")
