"""Captions against the scene graph and the label maps."""

import re
from collections import Counter

import numpy as np
import pytest

from scenes.captions import QUALITIES, captions, noisy, observe, rewrite
from scenes.render import view
from scenes.world import CAPTION_STREAM, COLOURS, MATERIALS, SHAPES, generator

COUNT = 60


@pytest.fixture(scope="module")
def made():
    views = [view(9, i) for i in range(COUNT)]
    return views, [captions(v, 9, i) for i, v in enumerate(views)]


def statistics(shot):
    """{colour shape: (mean column, mean depth)} straight from the label maps."""
    found = {}
    for k, thing in enumerate(shot.scene.things):
        mask = shot.instance == k + 1
        found[f"{thing.colour} {thing.shape}"] = (np.argwhere(mask)[:, 1].mean(), shot.depth[mask].mean())
    return found


def check_relations(text, found):
    pattern = r"[Tt]he (\w+ \w+) is (to the left of|to the right of|in front of|behind) the (\w+ \w+)"
    facts = re.findall(pattern, text)
    for first, word, second in facts:
        a, b = found[first], found[second]
        assert first != second
        holds = {
            "to the left of": a[0] < b[0],
            "to the right of": a[0] > b[0],
            "in front of": a[1] < b[1],
            "behind": a[1] > b[1],
        }
        assert holds[word], (text, word)
    return len(facts)


def test_aligned_names_every_solid_and_states_true_relations(made):
    lengths, relations = [], 0
    for shot, texts in zip(*made, strict=True):
        text = texts["aligned"]
        items = re.findall(r"\ban? (\w+) (\w+) (\w+)", text)
        assert Counter(items) == Counter((t.colour, t.material, t.shape) for t in shot.scene.things)
        relations += check_relations(text, statistics(shot))
        lengths.append(len(text.split()))
    assert COUNT * 0.9 <= relations <= COUNT * 2
    assert 15 <= np.mean(lengths) <= 35


def test_enriched_is_dense_and_true(made):
    for shot, texts in zip(*made, strict=True):
        text, found = texts["enriched"], statistics(shot)
        items = re.findall(r"\ban? (\w+) (\w+) (\w+) (\w+) (?:on the|in the) .*?, ([\d.]+) m away", text)
        graph = Counter((t.size, t.colour, t.material, t.shape) for t in shot.scene.things)
        assert Counter(i[:4] for i in items) == graph
        for _, colour, _, shape, depth in items:
            assert float(depth) == pytest.approx(found[f"{colour} {shape}"][1], abs=0.06)
        columns = [found[f"{i[1]} {i[3]}"][0] for i in items]
        assert columns == sorted(columns)
        order = re.search(r"From near to far: (.*?)\.", text).group(1).replace("the ", "").split(", ")
        depths = [found[name][1] for name in order]
        assert len(order) == len(found) and depths == sorted(depths)
        assert f"{shot.scene.room.floor} floor" in text and f"{shot.scene.room.wall} walls" in text
        check_relations(text, found)


def test_noisy_shares_and_truth():
    shot = view(9, 0)
    seen, kinds, named, true = observe(shot), Counter(), 0, 0
    shapes = {t.shape for t in shot.scene.things}
    pairs = {f"{t.colour} {t.shape}" for t in shot.scene.things}
    for k in range(4000):
        text, kind = noisy(seen, generator(1, k, CAPTION_STREAM))
        kinds[kind] += 1
        words = re.findall(r"[a-z]+", text.lower())
        found = [w for w in words if w in SHAPES]
        if kind == "partial":
            assert len(found) <= 1 and set(found) <= shapes
            assert any(w in SHAPES or w in COLOURS or w in MATERIALS for w in words)
        pair = [(c, s) for c in words for s in words if c in COLOURS and s in SHAPES]
        if pair:
            named += 1
            true += " ".join(pair[0]) in pairs
    assert kinds["unrelated"] / 4000 == pytest.approx(0.35, abs=0.03)
    assert kinds["partial"] / 4000 == pytest.approx(0.35, abs=0.03)
    assert 0.2 < named / 4000 < 0.7
    assert 0.4 < true / named < 0.9  # a weak signal, neither none nor clean


def test_rewritten_depends_on_the_noisy_text_alone(made):
    for texts in made[1]:
        assert tuple(texts) == QUALITIES
        assert texts["rewritten"] == rewrite(texts["noisy"])
    assert rewrite("best deal free shipping red cube") == "A photo of a red cube."
    assert rewrite("IMG_0042.jpg orange") == "A photo of an orange object."
    assert rewrite("purple-cone-300x300.jpg") == "A photo of a purple cone."
    assert rewrite("DSC1234.JPG") == "A photo."
