"""The captions of a data set: which text of a sample is shown, and the tokens that all of them need."""

import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from backbones.text import compact_vocabulary
from datasets.images import CorruptSample
from datasets.shards import ShardReader, cache_folder, fingerprint, list_shards, load_index, read_captions, texts_of
from engine.caches import ensure_cached


def draw_text(found: dict[str, str | list[str]], captions: str) -> tuple[str, int]:
    """One text of `captions`, and which: a kind of "a+b", then one of its texts, each uniformly where several are."""
    kinds = texts_of(found, captions)
    kind = np.random.randint(len(kinds)) if len(kinds) > 1 else 0
    if not (texts := kinds[kind]):
        raise CorruptSample(f"no caption {captions.split('+')[kind]!r}")
    text = np.random.randint(len(texts)) if len(texts) > 1 else 0
    return texts[text], sum(map(len, kinds[:kind])) + text


def shard_vocabulary(root: str | Path, pattern: str = "*.tar") -> list[str]:
    """The tokens of all captions of all samples, in the order of CLIP's ids; found once and stored with the index."""
    path = cache_folder(Path(root)) / f"vocabulary-{fingerprint(list_shards(Path(root), pattern))[:16]}.json"
    ensure_cached(path, lambda temporary: temporary.write_text(json.dumps(find_vocabulary(root, pattern))))
    return json.loads(path.read_text())


def find_vocabulary(root: str | Path, pattern: str) -> list[str]:
    """As `shard_vocabulary`, read from the shards."""
    reader = ShardReader(load_index(root, pattern))

    def captions() -> set[str]:
        found: set[str] = set()
        for sample in tqdm(range(len(reader.index.keys)), desc="vocabulary of captions", unit="sample"):
            try:
                read = read_captions(reader.read(sample, 1), reader.read(sample, 2))
                found.update(text for name in read for text in texts_of(read, name)[0])
            except ValueError:
                continue  # a damaged JSON is counted and named when its sample is drawn
        return found

    return compact_vocabulary(captions())
