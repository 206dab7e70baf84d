"""Captions of a rendered scene in four qualities, from web-like alt text to a dense description.

aligned    every solid with colour and material, and one or two relations that hold in the image.
noisy      web-like alt text: a share UNRELATED describes something else, a share PARTIAL names one solid, the rest is
           file-name or shop junk, most of it with a partial truth.
rewritten  a clean sentence made from the noisy text alone: it can drop junk, not repair what is wrong.
enriched   room, light, every solid with size, place and distance, the order in depth, and relations.
"""

import itertools
import re
from dataclasses import dataclass

import numpy as np

from scenes.render import View
from scenes.world import CAPTION_STREAM, COLOURS, MATERIALS, SHAPES, SIZES, generator

QUALITIES = ("noisy", "aligned", "rewritten", "enriched")
UNRELATED, PARTIAL = 0.35, 0.35
SIDE_GAP = 0.08  # of the image's width between two centroids called left and right of each other
DEPTH_GAP = 0.35  # metres between two mean depths called in front of and behind
GENERIC = (
    "image may contain: indoor", "beautiful home decor ideas for 2019", "click to enlarge", "stock photo", "untitled",
    "family holiday at the lake", "best pizza in town", "new arrivals this week", "a dog playing in the park",
    "how to paint your living room", "download free wallpaper", "my trip to the mountains",
)  # fmt: skip
JUNK = (
    "best deal free shipping {}", "{} | buy online | page 2", "IMG_{n}.jpg {}", "{file}_{n}_final.png",
    "DSC{n}.JPG", "{} - photo {n} of 240", "{file}-300x300.jpg", "sale!! {} 50% off", "SKU {n} {} in stock",
    "Screenshot_{n}.png",
)  # fmt: skip
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True)
class Seen:
    """What the image shows of one solid: words, pixels, centroid (0..1, x right, y down), mean depth in metres."""

    size: str
    colour: str
    material: str
    shape: str
    area: int
    x: float
    y: float
    depth: float

    @property
    def name(self) -> str:
        """Colour and shape, which name one solid of a scene."""
        return f"{self.colour} {self.shape}"


def observe(view: View) -> list[Seen]:
    """Return what is visible of each solid that has a pixel, largest visible area first."""
    size = view.rgb.shape[0]
    seen = []
    for k, thing in enumerate(view.scene.things):
        rows, columns = np.nonzero(view.instance == k + 1)
        if rows.size:
            depth = float(view.depth[rows, columns].mean(dtype=np.float64))
            place = (float(columns.mean() + 0.5) / size, float(rows.mean() + 0.5) / size)
            seen.append(Seen(thing.size, thing.colour, thing.material, thing.shape, rows.size, *place, depth))
    return sorted(seen, key=lambda s: -s.area)


def relation(a: Seen, b: Seen, rng: np.random.Generator | None = None) -> str | None:
    """A relation of a to b that holds in the image, or None; `rng` chooses where two hold, else depth comes first."""
    words = []
    if abs(a.depth - b.depth) > DEPTH_GAP:
        words.append("in front of" if a.depth < b.depth else "behind")
    if abs(a.x - b.x) > SIDE_GAP:
        words.append("to the left of" if a.x < b.x else "to the right of")
    if not words:
        return None
    return words[0] if rng is None else words[int(rng.integers(len(words)))]


def captions(view: View, seed: int, index: int) -> dict[str, str]:
    """Return {quality: text} for QUALITIES. A pure function of the view, the seed and the index."""
    seen = observe(view)
    rng = generator(seed, index, CAPTION_STREAM)
    text, _ = noisy(seen, rng)
    return {"noisy": text, "aligned": aligned(seen, rng), "rewritten": rewrite(text), "enriched": enriched(view, seen)}


def aligned(seen: list[Seen], rng: np.random.Generator) -> str:
    """A sentence with every solid's colour and material, and up to two relations between them."""
    order = [seen[k] for k in rng.permutation(len(seen))]
    text = _join([_article(f"{s.colour} {s.material} {s.shape}") for s in order])
    pairs = [(a, b) for a in order for b in order if a is not b and relation(a, b)]
    wanted = 2 if len(order) <= 3 else 1  # keeps long lists short
    chosen = [pairs[k] for k in rng.permutation(len(pairs))[:wanted]]
    if len(chosen) == 2 and set(chosen[0]) == set(chosen[1]):
        chosen.pop()
    facts = [f"the {a.name} is {relation(a, b, rng)} the {b.name}" for a, b in chosen]
    return "; ".join([text, *facts])


def noisy(seen: list[Seen], rng: np.random.Generator) -> tuple[str, str]:
    """Return (alt text, kind); kind is "unrelated", "partial" or "junk"."""
    draw, thing = rng.random(), seen[int(rng.integers(len(seen)))]
    if draw < UNRELATED:
        if rng.random() < 0.4:
            return _pick(rng, GENERIC), "unrelated"
        other = (_pick(rng, words) for words in (COLOURS, MATERIALS, SIZES, SHAPES))
        return _fragment(*other, rng), "unrelated"
    if draw < UNRELATED + PARTIAL:
        return _fragment(thing.colour, thing.material, thing.size, thing.shape, rng), "partial"
    words = thing.name if rng.random() < 0.5 else thing.shape if rng.random() < 0.4 else thing.colour
    n = f"{int(rng.integers(10000)):04d}"
    return _pick(rng, JUNK).format(words, n=n, file=words.replace(" ", "-")), "junk"


def _fragment(colour: str, material: str, size: str, shape: str, rng: np.random.Generator) -> str:
    forms = (
        f"{colour} {shape}", f"{shape}", f"{colour} thing", f"{size} {colour} {shape}", f"my {colour} {shape}",
        f"photo of a {shape}", f"{material} {shape} in my room", f"{colour}", f"the {colour} one on the floor",
    )  # fmt: skip
    return _pick(rng, forms)


def rewrite(text: str) -> str:
    """Make a clean sentence of an alt text: junk goes, the words for a solid stay. Depends on nothing but `text`."""
    words = re.findall(r"[a-z]+", re.sub(r"\.(jpe?g|png)\b", " ", text.lower()))
    found = {
        kind: next((w for w in words if w in vocabulary), "")
        for kind, vocabulary in (("size", SIZES), ("colour", COLOURS), ("material", MATERIALS), ("shape", SHAPES))
    }
    if any(found[kind] for kind in ("colour", "material", "shape")):
        parts = (found["size"], found["colour"], found["material"], found["shape"] or "object")
        return f"A photo of {_article(' '.join(filter(None, parts)))}."
    if text in GENERIC:
        return f"A photo about {text}."
    return "A photo."


def enriched(view: View, seen: list[Seen]) -> str:
    """A dense description: room, light, solids from left to right, order in depth, every neighbour's relation."""
    scene = view.scene
    across = sorted(seen, key=lambda s: s.x)
    near = sorted(seen, key=lambda s: s.depth)
    noun = "object" if len(seen) == 1 else "objects"
    room = f"A room with a {scene.room.floor} floor and {scene.room.wall} walls holds {NUMBERS[len(seen)]} {noun}"
    full = [_article(f"{s.size} {s.colour} {s.material} {s.shape}") for s in across]
    items = [f"{words} {_place(s)}, {s.depth:.1f} m away" for words, s in zip(full, across, strict=True)]
    sentences = [f"{room}; from left to right: {'; '.join(items)}"]
    if len(near) > 1:
        sentences.append("From near to far: " + ", ".join(f"the {s.name}" for s in near))
        facts = [(a, relation(a, b), b) for a, b in itertools.pairwise(near)]
        sentences += [f"The {a.name} is {word} the {b.name}" for a, word, b in facts if word]
    return ". ".join(sentences) + "."


def _place(s: Seen) -> str:
    side = "on the left" if s.x < 0.38 else "on the right" if s.x > 0.62 else "in the middle"
    return f"{side} {'near the bottom' if s.y > 0.66 else 'of the picture'}"


def _pick(rng: np.random.Generator, options: tuple[str, ...] | dict[str, object]) -> str:
    options = tuple(options)
    return options[int(rng.integers(len(options)))]


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _join(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
