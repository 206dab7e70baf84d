"""Tags of a sample: hashtags where the shards hold them, else the words of its caption; those that are frequent."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets.images import CorruptSample
from datasets.shards import (
    ShardReader,
    cache_folder,
    fingerprint,
    list_shards,
    listed_tags,
    load_index,
    read_captions,
    texts_of,
)
from engine.caches import ensure_cached
from engine.errors import UserError

VERSION = 1
WORD = re.compile(r"[^\W_]+")
# Words that say nothing of a picture. Rare ones need no list: they miss `min_count`.
STOP_WORDS = frozenset(
    """
    a about all an and any are as at be been but by can could did do does for from had has have he her his how i
    if in into is it its just me more my no not of off on one or other our out over s she so some t than that the
    their them then there these they this those to too under up very was we were what when where which who will
    with you your
    """.split()  # noqa: SIM905
)


def caption_tags(caption: str) -> list[str]:
    """The words of a caption, lower-case, each once, without stop words; a hashtag counts as its word."""
    return [word for word in dict.fromkeys(WORD.findall(caption.lower())) if word not in STOP_WORDS]


def tag_vocabulary(root: str | Path, pattern: str, captions: str | None, min_count: int) -> list[str]:
    """The tags of at least `min_count` samples, the most frequent first; found once and stored with the index.

    Args:
        root, pattern: the shards.
        captions: kind of caption for samples without a list of tags; of "a+b", a word of either counts.
        min_count: fewest samples that a tag must have.

    Raises:
        UserError: no tag is that frequent.
    """
    mark = json.dumps([VERSION, fingerprint(list_shards(Path(root), pattern)), captions, min_count, sorted(STOP_WORDS)])
    path = cache_folder(Path(root)) / f"tags-{hashlib.sha256(mark.encode()).hexdigest()[:16]}.json"

    def make(temporary: Path) -> None:
        temporary.write_text(json.dumps(find_tags(root, pattern, captions, min_count)))

    return json.loads(ensure_cached(path, make).read_text())


def find_tags(root: str | Path, pattern: str, captions: str | None, min_count: int) -> list[str]:
    """As `tag_vocabulary`, read from the shards."""
    reader, counts = ShardReader(load_index(root, pattern)), Counter()
    for sample in tqdm(range(len(reader)), desc="vocabulary of tags", unit="sample"):
        try:
            record = reader.read(sample, 2)
            tags = listed_tags(record)
            if tags is None:
                kinds = texts_of(read_captions(reader.read(sample, 1), record), captions) if captions else []
                tags = {tag for texts in kinds for text in texts for tag in caption_tags(text)}
        except CorruptSample:
            continue  # it is counted and named when its sample is drawn
        counts.update(tags)
    vocabulary = [tag for tag, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
                  if count >= min_count]  # fmt: skip
    if not vocabulary:
        most = max(counts.values(), default=0)
        raise UserError(f"no tag occurs in {min_count} samples of {root}, the most frequent in {most}: lower min_count")
    return vocabulary


class Tagger:
    """A sample's tags as a row of ids.

    Args:
        root, pattern, captions, min_count: see tag_vocabulary.
        width: length of the rows; further tags of a sample are left out.
    """

    def __init__(self, root: str, pattern: str, captions: str | None, min_count: int, width: int = 32) -> None:
        self.ids = {tag: number for number, tag in enumerate(tag_vocabulary(root, pattern, captions, min_count))}
        self.width = width

    def row(self, tags: list[str]) -> np.ndarray:
        """Different tags -> ids int64 [width] of those in the vocabulary, padded with -1."""
        ids = [self.ids[tag] for tag in tags if tag in self.ids][: self.width]
        row = np.full(self.width, -1, np.int64)
        row[: len(ids)] = ids
        return row
