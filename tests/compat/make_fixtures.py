"""Write compiled_ops.npz: what torchvision's compiled CPU operators answer, for `test_compiled_ops.py` to compare with.

Run it where torchvision's compiled operators load (its release beside the torch it was built for; x86-64, because
other processors fuse multiplications and round otherwise). It needs nothing else of this project:

    python3 tests/compat/make_fixtures.py

The inputs are made from seeds, here and in the test; their checksums are stored, so that a numpy which draws other
numbers is noticed. The versions that answered are stored too.
"""

import argparse
import hashlib
import platform
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("compiled_ops.npz")
NMS_CASES = [
    (count, ties, threshold)
    for count in (10, 100, 1000, 4000)
    for ties in (False, True)
    for threshold in (0.3, 0.5, 0.7)
]
# (aligned, sampling ratio, scale, bins, channels, RoIs)
ROI_CASES = [
    (aligned, ratio, scale, (7, 7), 3, 24)
    for aligned in (True, False)
    for ratio in (0, 2)
    for scale in (0.5, 0.25, 0.0625)
]
ROI_CASES += [
    (True, 0, 0.25, (14, 14), 2, 12),
    (False, 0, 0.25, (3, 5), 2, 12),
    (True, 0, 0.25, (7, 7), 2, 2000),
    (True, 2, 0.25, (7, 7), 2, 2000),
]
IMAGE = (64, 96)  # rows, columns of the image that the RoIs lie in


def name(*case):
    """A case's key in the file."""
    return "/".join(str(part).replace(" ", "") for part in case)


def nms_inputs(count, ties, threshold):
    """Boxes [N, 4] and scores [N], float32, crowded enough that most are suppressed."""
    random = np.random.default_rng([1, count, int(ties), int(threshold * 10)])
    corner, extent = random.random((count, 2)) * 300, 4 + random.random((count, 2)) * 60
    boxes, scores = np.concatenate([corner, corner + extent], axis=1), random.random(count)
    if ties:  # equal scores, equal boxes, whole coordinates (equal overlaps), boxes without area
        boxes, scores = np.round(boxes / 4) * 4, np.round(scores, 1)
        boxes[1::7] = boxes[::7][: len(boxes[1::7])]
        boxes[3::11, 2:] = boxes[3::11, :2]
    return boxes.astype(np.float32), scores.astype(np.float32)


def roi_inputs(aligned, ratio, scale, bins, channels, count):
    """Features [2, C, H, W], RoIs [R, 5] and the gradient [R, C, P, P] of what is pooled, float32.

    The last seven RoIs are degenerate: far outside, beyond every border, without width, without area, turned over,
    smaller than a cell.
    """
    random = np.random.default_rng([2, int(aligned), ratio, int(scale * 64), *bins, channels, count])
    features = random.random((2, channels, *(int(side * scale) for side in IMAGE))) * 2 - 1
    corner, extent = random.random((count, 2)) * 100 - 10, random.random((count, 2)) ** 2 * 80
    rois = np.concatenate([random.integers(0, 2, (count, 1)), corner, corner + extent], axis=1)
    rois[: count // 4, 1:] = np.round(rois[: count // 4, 1:])  # lengths that are multiples of bins and cells
    rois[-7:] = [
        [0, -300, -300, -200, -200],
        [1, -8, -8, 104, 72],
        [0, 10, 10, 10, 40],
        [1, 20, 20, 20, 20],
        [0, 40, 40, 30, 20],
        [1, 90, 60, 200, 180],
        [0, 1, 1, 1.5, 1.25],
    ]
    gradient = random.random((count, channels, *bins)) * 2 - 1
    return tuple(array.astype(np.float32) for array in (features, rois, gradient))


def checksum(arrays):
    """Of the inputs' bytes, 64 hexadecimal digits."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def shorten(pooled):
    """Thousands of RoIs would not fit: of those keep the mean over channels of three bins, [R, 3]."""
    if len(pooled) < 1000:
        return pooled
    return pooled.mean(axis=1).reshape(len(pooled), -1)[:, [0, 24, 48]]


def main():
    """Ask the compiled operators and write the file."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        import torch
        import torchvision

        operators = torch.ops.torchvision
        operators.roi_align(torch.ones(1, 1, 1, 1), torch.zeros(1, 5), 1.0, 1, 1, 1, False)
    except (ImportError, RuntimeError, AttributeError, NotImplementedError) as error:
        raise SystemExit(f"torchvision's compiled operators do not load here ({error}): nothing written") from error
    torch.set_num_threads(1)
    results = {
        "versions": f"torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"numpy {np.__version__}, {platform.machine()}"
    }
    for case in NMS_CASES:
        boxes, scores = nms_inputs(*case)
        kept = torchvision.ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), case[2])
        results[name("nms", *case)] = kept.numpy().astype(np.int16)
        results[name("nms", *case, "inputs")] = checksum([boxes, scores])
    for case in ROI_CASES:
        aligned, ratio, scale, bins, _, _ = case
        inputs = roi_inputs(*case)
        features, rois, gradient = (torch.from_numpy(array) for array in inputs)
        features.requires_grad_()
        pooled = torchvision.ops.roi_align(features, rois, bins, scale, ratio, aligned)
        pooled.backward(gradient)
        results[name("roi", *case, "pooled")] = shorten(pooled.detach().numpy())
        results[name("roi", *case, "gradient")] = features.grad.numpy()
        results[name("roi", *case, "inputs")] = checksum(inputs)
    with open(PATH, "wb") as handle:
        np.savez_compressed(handle, **results)
    print(f"{PATH}: {PATH.stat().st_size / 1024:.0f} KiB, {len(results)} arrays, {results['versions']}")


if __name__ == "__main__":
    main()
