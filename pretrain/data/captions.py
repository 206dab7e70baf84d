"""The captions of a data set: which text of a sample is shown, and the tokens that all of them need."""

import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from backbones.text import compact_vocabulary
from datasets.images import CorruptSample
from datasets.shards import ShardReader, cache_folder, fingerprint, list_shards, load_index, read_captions, texts_of
from engine.caches import ensure_cached
from engine.errors import UserError

LOOKED = 1000  # samples whose captions are looked at before training


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
        for sample in tqdm(range(len(reader)), desc="vocabulary of captions", unit="sample"):
            try:
                read = read_captions(reader.read(sample, 1), reader.read(sample, 2))
                found.update(text for name in read for text in texts_of(read, name)[0])
            except CorruptSample:
                continue  # it is counted and named when its sample is drawn
        return found

    return compact_vocabulary(captions())


def check_captions(reader: ShardReader, chosen: Sequence[str], max_corrupt: float) -> None:
    """Look for the captions that training will draw, before it begins.

    Up to LOOKED samples are read, always the same. Of a larger set they are a sample, so ten times `max_corrupt` of
    them may lack a caption; all that do are counted again as they are drawn.

    Args:
        reader: of the shards.
        chosen: kinds of caption, "a" or "a+b".
        max_corrupt: largest share of samples that may be of no use.

    Raises:
        UserError: none of the samples has a caption of a chosen kind, or too many lack it.
    """
    wanted = {name for captions in chosen for name in captions.split("+")}
    total = len(reader)
    drawn = np.random.default_rng(0).choice(total, min(total, LOOKED), replace=False)  # some write texts by turns
    looked = np.sort(drawn).tolist() if wanted else []
    having = Counter()
    for index in looked:
        with contextlib.suppress(CorruptSample):  # counted and named when it is drawn
            having.update(read_captions(reader.read(index, 1), reader.read(index, 2)).keys())
    tolerated = max_corrupt * len(looked) * (1 if len(looked) == total else 10)
    where, known = reader.index.shards[0].parent, ", ".join(sorted(having)) or "none"
    for name in sorted(wanted):
        lacking = len(looked) - having[name]
        if not having[name]:
            raise UserError(
                f"the shards in {where} have no caption {name!r} but {known}: choose one with "
                "--cfg-options captions=NAME"
            )
        if lacking > tolerated:
            raise UserError(
                f"{lacking} of {len(looked)} samples looked at in {where} have no usable caption {name!r} (there are "
                f"{known}): choose one that all have, complete them, or raise train_dataloader.dataset.max_corrupt"
            )
