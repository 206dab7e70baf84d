"""torchvision's wheel is built against CUDA: beside a CPU torch its compiled operators do not load, and `import
torchvision` fails with "operator torchvision::nms does not exist". Define the missing operators before that import.

`nms` below is a complete non-maximum suppression; `qnms` (quantised boxes) is declared, because the import needs the
name, and refuses to run. `torchvision.ops.roi_align` has a Python path of its own.

Cost: 4,000 boxes take about as long as the compiled operator on one core; on a GPU without compiled operators the boxes
travel to the CPU and back.
"""

import functools
import importlib.machinery
import importlib.util
import sys

import numpy as np
import torch

# Boxes decided together: enough to hide numpy's call overhead, few enough that their IoU rows stay in cache.
_BLOCK = 64
_libraries: list[torch.library.Library] = []  # an operator lives only as long as its library object


def _load_compiled() -> bool:
    """Load torchvision's extension as torchvision itself will, without importing torchvision; False if it cannot."""
    package = importlib.util.find_spec("torchvision")
    if package is None:
        return False
    details = (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
    for folder in package.submodule_search_locations or ():
        extension = importlib.machinery.FileFinder(folder, details).find_spec("_C")
        if extension is not None:
            try:
                torch.ops.load_library(extension.origin)
            except OSError:  # a library it was linked with is missing: nothing of it has been registered
                return False
            return True
    return False


def install() -> None:
    """Define `torchvision::nms` and `torchvision::qnms` if torchvision's compiled extension does not load."""
    if "torchvision" in sys.modules or _load_compiled() or hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, function in (("nms", nms), ("qnms", _qnms)):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl(name, function, "CompositeExplicitAutograd")
    _libraries.append(library)


@functools.cache
def compiled_on(device_type: str) -> bool:
    """Whether torchvision's compiled operators run on "cpu", "cuda", ...: asks roi_align, never defined here."""
    if not hasattr(torch.ops.torchvision, "roi_align"):
        return False
    features, rois = torch.ones(1, 1, 1, 1, device=device_type), torch.zeros(1, 5, device=device_type)
    try:
        torch.ops.torchvision.roi_align(features, rois, 1.0, 1, 1, 1, False)
    except NotImplementedError:  # a CPU build of torchvision beside a CUDA torch
        return False
    return True


def _qnms(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    raise NotImplementedError("torchvision::qnms (quantised boxes) needs a torchvision built for this torch")


def nms(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float, offset: int = 0) -> torch.Tensor:
    """Greedy non-maximum suppression.

    dets [N, 4] as (x1, y1, x2, y2); scores [N]; a box is dropped where its IoU with a kept box of higher score exceeds
    `iou_threshold`. Width is x2 - x1 + offset. Returns the kept indices [K], int64, by falling score, equal scores in
    their given order, on the device of `dets`. Raises ValueError on other shapes.
    """
    if dets.ndim != 2 or dets.shape[1] != 4 or scores.shape != dets.shape[:1]:
        raise ValueError(f"nms needs boxes [N, 4] and scores [N], not {tuple(dets.shape)} and {tuple(scores.shape)}")
    order = scores.detach().sort(descending=True, stable=True).indices.cpu().numpy()
    boxes = dets.detach().cpu()
    boxes = (boxes if boxes.dtype in (torch.float32, torch.float64) else boxes.float()).numpy()
    kept = order[_greedy(boxes[order], iou_threshold, offset)]
    return torch.from_numpy(kept).to(dets.device)


def _greedy(boxes: np.ndarray, iou_threshold: float, offset: int) -> np.ndarray:
    """Return the positions [K] kept among boxes [N, 4] that are sorted by falling score.

    Block by block: settle the block's own boxes one after the other, then strike what its survivors suppress from all
    that follow.
    """
    kept = []
    corners = np.ascontiguousarray(boxes.T)  # [4, N]
    areas = (corners[2] - corners[0] + offset) * (corners[3] - corners[1] + offset)
    positions = np.arange(len(boxes))
    while len(positions):
        block = slice(0, _BLOCK)
        overlaps = np.triu(
            _exceeds(corners[:, block], areas[block], corners[:, block], areas[block], iou_threshold, offset), 1
        )
        alive = np.ones(len(overlaps), dtype=bool)
        for row in np.flatnonzero(overlaps.any(axis=1)):
            if alive[row]:
                alive &= ~overlaps[row]
        kept.append(positions[block][alive])
        survivors, rest = np.flatnonzero(alive), slice(_BLOCK, None)
        struck = _exceeds(
            corners[:, survivors], areas[survivors], corners[:, rest], areas[rest], iou_threshold, offset
        ).any(axis=0)
        corners, areas, positions = corners[:, rest][:, ~struck], areas[rest][~struck], positions[rest][~struck]
    return np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)


def _exceeds(
    a: np.ndarray, area_a: np.ndarray, b: np.ndarray, area_b: np.ndarray, iou_threshold: float, offset: int
) -> np.ndarray:
    """Whether IoU exceeds the threshold: corners a [4, K], b [4, M] -> [K, M] bool.

    The operations and their order are the compiled operator's, so that rounding is too; it compares in float64.
    """
    width = np.minimum(a[2][:, None], b[2]) - np.maximum(a[0][:, None], b[0])
    height = np.minimum(a[3][:, None], b[3]) - np.maximum(a[1][:, None], b[1])
    if offset:
        width += offset
        height += offset
    intersection = np.maximum(width, 0, out=width)
    intersection *= np.maximum(height, 0, out=height)
    union = area_a[:, None] + area_b
    union -= intersection
    with np.errstate(invalid="ignore", divide="ignore"):  # two empty boxes: 0 / 0 suppresses nothing
        return np.divide(intersection, union, out=intersection) > np.float64(iou_threshold)
