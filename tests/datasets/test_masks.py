"""Run lengths and polygons against pycocotools' own decoder and against pictures turned pixel by pixel."""

import numpy as np
import pytest
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from datasets.masks import encoded, extent, run_lengths, turned_box, turned_mask, whole_mask


def blobs(seed, size=(23, 31)):
    rng = np.random.default_rng(seed)
    return (rng.random(size) < rng.choice([0.02, 0.5, 0.9])).astype(np.uint8)


def runs_of(pixels):
    """Run lengths by walking down the columns, zeros first."""
    runs, value = [0], 0
    for pixel in pixels.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@pytest.mark.parametrize("seed", range(8))
def test_the_string_is_read_as_pycocotools_wrote_it(seed):
    pixels = blobs(seed, (23, 31) if seed else (700, 900))
    string = coco_mask.encode(np.asfortranarray(pixels))["counts"].decode()
    assert run_lengths(string).tolist() == runs_of(pixels) if seed else run_lengths(string).sum() == 700 * 900
    mask = {"size": list(pixels.shape), "counts": string}
    assert whole_mask(mask, pixels.shape) == (mask, 0)
    listed = {"size": list(pixels.shape), "counts": run_lengths(string).tolist()}
    assert np.array_equal(coco_mask.decode(encoded(whole_mask(listed, pixels.shape)[0], pixels.shape)), pixels)


def test_every_cut_and_most_changes_of_a_string_are_refused():
    pixels = blobs(1)
    string = coco_mask.encode(np.asfortranarray(pixels))["counts"].decode()
    for end in range(len(string)):
        with pytest.raises(ValueError):
            whole_mask({"size": [23, 31], "counts": string[:end]}, (23, 31))
    for wrong in (string + "x", string + "\0", string + " ", "", 5, None, [1, "a"], [-1, 714], [1.5], [713.0], [True]):
        with pytest.raises(ValueError):
            whole_mask({"size": [23, 31], "counts": wrong}, (23, 31))
    with pytest.raises(ValueError, match=r"of \[31, 23\] for an image of \[23, 31\]"):
        whole_mask({"size": [31, 23], "counts": string}, (23, 31))


@pytest.mark.parametrize("polygon", [
    [5, 5, 6, 6], [1, 1, 5, 1, 5], [1, 1, 5, 1, "5", 5], [1, 1, 5, 1, None, 5], [[1, 1], [5, 1], [5, 5]], [], "abc", 7,
    [1, 1, 5, 1, float("nan"), 5], [1, 1, 5, 1, float("inf"), 5], [1, 1, 5, 1, 1e9, 5], [1, 1, 5, 1, 10**400, 5],
    [1, 1, 5, 1, True, 5], {"x": 1},
])  # fmt: skip
def test_polygons_that_would_harm_pycocotools_are_left_out(polygon):
    whole = [2, 2, 9, 2, 9, 9.5]
    assert whole_mask([polygon, whole], (23, 31)) == ([whole], 1)
    with pytest.raises(ValueError, match="no polygon of three corners"):
        whole_mask([polygon], (23, 31))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_objects_turn_with_their_picture(orientation):
    size = (23, 31)
    box = [4, 6, 11, 5]
    pixels = np.zeros(size, np.uint8)
    pixels[6:11, 4:15] = 1
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    shown = np.array(ImageOps.exif_transpose(image))
    rows, columns = np.nonzero(shown)
    around = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    assert turned_box(box, size, orientation) == around
    polygon = [[4, 6, 15, 6, 15, 11, 4, 11]]
    runs = {"size": list(size), "counts": runs_of(pixels)}
    for mask in (polygon, runs):
        turned = turned_mask(mask, size, orientation)
        assert np.array_equal(coco_mask.decode(encoded(turned, shown.shape)), shown)
        assert extent(turned) == tuple(around)
