"""Image-text retrieval in both directions: recall at K with several captions per image.

The rank of an item counts the items that score strictly better and those of equal score that stand earlier, as in a
stable sort; a query's rank is that of its best right answer. Similarities are computed for blocks of queries against
the whole gallery, so that memory does not grow with the number of queries.
"""

import hashlib
from collections.abc import Sequence
from math import comb

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from backbones.towers import Towers
from datasets.captioned import CaptionedImages
from engine.errors import UserError
from engine.outcome import Outcome, resamples
from recognition.measures import share
from recognition.vocabulary import check_read

PART = Towers
MEMORY = 256 * 2**20  # bytes for one block of similarities and its comparisons
BYTES = 12  # per similarity: the number itself, its copy where the gallery repeats items, and the comparisons


def run(cfg: Config, towers: Towers) -> Outcome:
    """R@1, R@5 and R@10 from image to text and from text to image on shards of captioned images.

    Args:
        cfg: data of kind "image_text", with root and pattern of the shards; captions, which, see `CaptionedImages`; and
            prefix, what is put before each caption, such as "a photo of".
        towers: of the checkpoint.

    Guessing finds one of an image's c among T texts in K drawn ones with probability 1 - C(T - c, K) / C(T, K).
    """
    listed = CaptionedImages(cfg.data.root, cfg.data.pattern, cfg.captions)
    texts, owner = [f"{cfg.prefix} {text}" if cfg.prefix else text for text in listed.texts], listed.owner
    # captions that differ in case or spaces alone are one to every text tower
    check_read(towers, {" ".join(text.lower().split()): [text] for text in texts}, str(cfg.data.root))
    images = towers.embed_images(listed.images())
    to_text, to_image = both_directions(images, towers.embed_texts(texts), owner)
    weights, captions_each = resamples(len(images)), torch.bincount(torch.tensor(owner)).tolist()
    found = []
    for k in (1, 5, 10):
        drawn = min(k, len(texts))
        missed = [comb(len(texts) - c, drawn) / comb(len(texts), drawn) for c in captions_each]
        chance = 1 - sum(missed) / len(missed)
        found.append(share(f"image_to_text_R{k}", to_text < k, torch.arange(len(images)), weights, chance))
    for k in (1, 5, 10):
        chance = min(1, k / len(images))
        found.append(share(f"text_to_image_R{k}", to_image < k, torch.tensor(owner), weights, chance))
    return Outcome(found)


def ranks(queries: Tensor, gallery: Tensor, relevant: Tensor, memory: int = MEMORY) -> Tensor:
    """Rank, from 0, of the best right answer to each query.

    Args:
        queries: [Q, E]. gallery: [G, E]. Their scalar product is the score.
        relevant: int64 [Q, P], positions in the gallery of a query's right answers, padded by -1.
        memory: bytes that a block may take beside the embeddings.

    Returns: int64 [Q].

    Raises:
        UserError: embeddings that are not finite, or a query without a right answer.
    """
    for name, embeddings in (("queries", queries), ("gallery", gallery)):
        if not embeddings.isfinite().all():
            raise UserError(f"retrieval: embeddings of the {name} are not finite; the checkpoint's training diverged")
    lonely = (relevant < 0).all(dim=1)
    if lonely.any():
        raise UserError(f"retrieval: item {int(lonely.int().argmax())} has no counterpart: give each image a caption")
    # A product may round equal rows unlike at the edge of a tile, so each distinct row is multiplied once.
    distinct, place = distinct_rows(gallery)
    position = torch.arange(len(gallery))
    found = []
    step = max(1, memory // (BYTES * len(gallery)))
    for block, right in zip(queries.split(step), relevant.split(step), strict=True):
        scores = block @ distinct.T  # [b, D]
        if len(distinct) < len(gallery):
            scores = scores[:, place]  # [b, G]
        own = scores.gather(1, right.clamp(min=0)).masked_fill(right < 0, -torch.inf)  # [b, P]
        best = own.amax(dim=1, keepdim=True)  # [b, 1]
        first = right.masked_fill((own < best) | (right < 0), len(gallery)).amin(dim=1, keepdim=True)  # [b, 1]
        # counted in int32, which torch sums four times as fast as int64
        rank = (scores > best).sum(dim=1, dtype=torch.int32).long()
        (tied,) = torch.where((scores == best).sum(dim=1, dtype=torch.int32) > 1)  # with another than the answer itself
        rank[tied] += ((scores[tied] == best[tied]) & (position < first[tied])).sum(dim=1)
        found.append(rank)
    return torch.cat(found)


def distinct_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """[G, E] -> the distinct rows [D, E], and the place among them of each row [G]."""
    places: dict[bytes, int] = {}
    digests = (hashlib.blake2b(row, digest_size=16).digest() for row in np.ascontiguousarray(rows.numpy()))
    place = torch.tensor([places.setdefault(digest, len(places)) for digest in digests])
    if len(places) == len(rows):
        return rows, place
    first = torch.full((len(places),), len(rows)).scatter_reduce(0, place, torch.arange(len(rows)), "amin")
    return rows[first], place


def captions_of(owner: Sequence[int], images: int) -> Tensor:
    """The image of each text, [T] -> the texts of each image, int64 [images, P], ascending, padded by -1.

    Raises:
        UserError: a text of an image that is not there.
    """
    texts: list[list[int]] = [[] for _ in range(images)]
    for text, image in enumerate(owner):
        if not 0 <= image < images:
            raise UserError(f"retrieval: text {text} belongs to image {image}, but there are {images} images")
        texts[image].append(text)
    most = max(map(len, texts), default=0)
    return torch.tensor([found + [-1] * (most - len(found)) for found in texts]).reshape(images, most)


def both_directions(images: Tensor, texts: Tensor, owner: Sequence[int], memory: int = MEMORY) -> tuple[Tensor, Tensor]:
    """Ranks of the best own text of each image [N], and of the own image of each text [T].

    Args:
        images: [N, E]. texts: [T, E]. owner: the image of each text, [T].
    """
    relevant = captions_of(owner, len(images))
    return ranks(images, texts, relevant, memory), ranks(texts, images, torch.tensor(owner)[:, None], memory)
