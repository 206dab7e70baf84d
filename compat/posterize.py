"""Pillow 13 refuses to keep 0 bits a channel, which timm 1.0.31's RandAugment asks for at its highest level.

Pillow 12 gave a black image, with which the published recipes trained. With Pillow 13 "rand-m9-mstd0.5-inc1" ends in a
ValueError for about one image in two thousand.
"""

from PIL import Image, ImageOps

_keep_bits = ImageOps.posterize


def posterize(image: Image.Image, bits: int) -> Image.Image:
    """`ImageOps.posterize`, and a black image for 0 bits."""
    return _keep_bits(image, bits) if bits else Image.new(image.mode, image.size)


def install() -> None:
    """Put it in Pillow's place where Pillow refuses 0 bits."""
    try:
        ImageOps.posterize(Image.new("L", (1, 1)), 0)
    except ValueError:
        ImageOps.posterize = posterize
