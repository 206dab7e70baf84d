"""What the bytes of one sample say: its image, and one text of its captions."""

import cv2
import numpy as np

from pretrain.shards import texts_of

END_MARKS = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8": b"\xff\xd9"}


class CorruptSample(Exception):
    """A sample's bytes cannot be used; the message says why."""


def decode_image(data: bytes | None) -> np.ndarray:
    """Encoded image -> uint8 RGB [H, W, 3]. Raises CorruptSample, also for a file cut short that still decodes."""
    if not data:
        raise CorruptSample("no image")
    for start, end in END_MARKS.items():
        if data.startswith(start) and end not in data[-64:]:
            raise CorruptSample("image cut short")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise CorruptSample("not an image")
    return image


def draw_text(found: dict[str, str | list[str]], captions: str) -> tuple[str, int]:
    """One text of `captions`, and which: a kind of "a+b", then one of its texts, each uniformly where several are."""
    kinds = texts_of(found, captions)
    kind = np.random.randint(len(kinds)) if len(kinds) > 1 else 0
    if not (texts := kinds[kind]):
        raise CorruptSample(f"no caption {captions.split('+')[kind]!r}")
    text = np.random.randint(len(texts)) if len(texts) > 1 else 0
    return texts[text], sum(map(len, kinds[:kind])) + text
