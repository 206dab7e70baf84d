"""Edits of captions: what each changes and how much, never nothing left, drawn from numpy's global generator."""

from collections import Counter

import numpy as np
import pytest

from pretrain.data import eda

LONG = " ".join(f"word{k}" for k in range(40))


def test_table_is_sound():
    lines = eda.SYNONYMS.read_text(encoding="utf-8").splitlines()
    words = [word for line in lines for word in line.split()]
    assert len(lines) >= 150 and all(len(line.split()) > 1 for line in lines)
    assert [word for word, count in Counter(words).items() if count > 1] == []
    assert all(word.isalpha() and word == word.lower() for word in words)
    assert set(eda.synonyms()["ball"]) == {"sphere", "orb"}


@pytest.mark.parametrize(("words", "changed"), [(1, 1), (9, 1), (19, 1), (20, 2), (45, 4)])
def test_amount_is_a_tenth_and_at_least_one(words, changed):
    assert eda.amount(words) == changed


def test_synonyms_replace_every_occurrence_and_keep_punctuation():
    np.random.seed(0)
    caption = ["(Cube),", "a", "blurb;", "the", "cube!"]
    found = {" ".join(eda.replace_synonyms(caption)) for _ in range(40)}
    assert found == {"(box), a blurb; the box!", "(block), a blurb; the block!"}


def test_synonyms_replace_the_stated_number_of_words():
    np.random.seed(0)
    words = ["red", "green", "blue", "cube", "sphere", "cone", *"abcdefghijklmn"]
    assert len(words) == 20  # so two of the six that have synonyms
    for _ in range(20):
        new = eda.replace_synonyms(words)
        changed = [(old, now) for old, now in zip(words, new, strict=True) if old != now]
        assert len(changed) == 2 and all(now in eda.synonyms()[old] for old, now in changed)
    assert eda.replace_synonyms(["DSC4014.JPG"]) == ["DSC4014.JPG"]


def test_swap_exchanges_places():
    np.random.seed(0)
    words = list("abcdefghi")
    for _ in range(20):
        new = eda.swap(words)
        assert sorted(new) == words and sum(a != b for a, b in zip(words, new, strict=True)) == 2
    assert words == list("abcdefghi")  # the argument stays
    assert eda.swap(["alone"]) == ["alone"]


def test_deletion_rate_and_limits():
    np.random.seed(0)
    words = LONG.split()
    left = [eda.delete(words) for _ in range(500)]
    assert all(1 <= len(new) < 40 and new == [w for w in words if w in new] for new in left)
    # a mean of 4 with a standard error of 0.085, hardly moved by "at least one"
    assert 40 - np.mean([len(new) for new in left]) == pytest.approx(4.06, abs=0.3)
    assert {tuple(eda.delete(["a", "b"])) for _ in range(50)} == {("a",), ("b",)}
    assert eda.delete(["alone"]) == ["alone"]


def test_edit_draws_each_kind_equally_from_numpys_generator():
    caption = "a red cube left of zzz"
    np.random.seed(3)
    first = [eda.edit(caption) for _ in range(900)]
    np.random.seed(3)
    assert [eda.edit(caption) for _ in range(900)] == first

    def kind(text):
        if len(text.split()) < 6:
            return "deletion"
        return "swap" if sorted(text.split()) == sorted(caption.split()) else "synonym"

    counts = Counter(map(kind, first))
    assert counts.keys() == {"deletion", "swap", "synonym"}
    assert all(abs(count - 300) < 60 for count in counts.values())  # 4 standard deviations


def test_edit_never_empties_a_caption():
    np.random.seed(0)
    for caption in ("x", "red", "--", "a b", "  spaced   out  "):
        assert all(eda.edit(caption).strip() for _ in range(60))
    assert eda.edit("") == eda.edit("  ") == ""
