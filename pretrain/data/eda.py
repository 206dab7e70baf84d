"""Easy data augmentation of a caption (Wei and Zou 2019): one edit of synonym replacement, random swap or deletion.

DeCLIP and LightCLIP contrast pictures with a caption and with one such edit of it. The synonyms stand in
`synonyms.txt`, one group of interchangeable words a line; no word stands in two groups. The paper takes them from
WordNet, which is a download, and draws from all senses of a word.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

ALPHA = 0.1  # share of the words that an edit changes, the paper's advice for all three; at least one is changed

SYNONYMS = Path(__file__).with_name("synonyms.txt")
CORE = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)  # a word between its punctuation


@cache
def synonyms() -> dict[str, tuple[str, ...]]:
    """Each word of the table -> the others of its group."""
    groups = [line.split() for line in SYNONYMS.read_text(encoding="utf-8").splitlines()]
    return {word: tuple(other for other in group if other != word) for group in groups for word in group}


def edit(caption: str) -> str:
    """One edit of a caption, its kind and place drawn from numpy's global generator.

    An edit that a caption offers no place for (a swap in a single word, say) leaves its words as they are. Words are
    what white space parts; the result joins them by single blanks and is empty only where the caption is.
    """
    words = caption.split()
    kinds: tuple[Callable[[list[str]], list[str]], ...] = (replace_synonyms, swap, delete)
    return " ".join(kinds[np.random.randint(3)](words)) if words else ""


def amount(words: int) -> int:
    """How many of so many words an edit changes."""
    return max(1, int(ALPHA * words))


def replace_synonyms(words: list[str]) -> list[str]:
    """Replace distinct words, each by one synonym wherever it occurs: "a red cube" stays the same thing throughout."""
    cores = [CORE.match(word).groups() for word in words]
    table = synonyms()
    known = list(dict.fromkeys(core.lower() for _, core, _ in cores if core.lower() in table))
    chosen = np.random.permutation(len(known))[: amount(len(words))]
    new = {known[k]: table[known[k]][np.random.randint(len(table[known[k]]))] for k in chosen}
    return [before + new.get(core.lower(), core) + after for before, core, after in cores]


def swap(words: list[str]) -> list[str]:
    """Exchange two words at drawn places, as many times as words are to change."""
    words = list(words)
    for _ in range(amount(len(words)) if len(words) > 1 else 0):
        one, other = np.random.choice(len(words), 2, replace=False)
        words[one], words[other] = words[other], words[one]
    return words


def delete(words: list[str]) -> list[str]:
    """Drop each word with probability ALPHA, but at least one, and never the last that is left."""
    dropped = np.random.random(len(words)) < ALPHA
    if not dropped.any():
        dropped[np.random.randint(len(words))] = True
    if dropped.all():
        dropped[np.random.randint(len(words))] = False
    return [word for word, gone in zip(words, dropped, strict=True) if not gone]
