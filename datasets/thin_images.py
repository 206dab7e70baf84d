"""Very long images in mm* pipelines: a resize that keeps proportions leaves each side at least one pixel.

mmcv's `rescale_size` makes 64x0 of an image of 512x2, and OpenCV an error of that. Every such resize of mmcv, mmdet and
mmseg, of images and of masks, goes through the one function that is exchanged here.
"""

from mmcv.image import geometric

_scale_size = geometric._scale_size


def install() -> None:
    """Exchange mmcv's function; called by the module of the pipelines' reader, which every dense config imports."""
    geometric._scale_size = at_least_a_pixel


def at_least_a_pixel(size: tuple[int, int], scale: float | tuple[float, float]) -> tuple[int, int]:
    """(width, height) times scale, rounded as mmcv does, but never to nothing."""
    width, height = _scale_size(size, scale)
    return max(1, width), max(1, height)
