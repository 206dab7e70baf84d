"""mmcv-lite ships `mmcv/ops/*.py` without the compiled `mmcv._ext` they call: stand in for it.

A finder at the end of `sys.meta_path` answers for `mmcv._ext` only where no compiled one was found before it. Its
module offers nms and RoIAlign, what Mask R-CNN needs, by torchvision's compiled operators where they load and else by
`compat.torchvision_ops.nms` and `compat.roi_align`. Every other operator exists by name, because mmcv looks all of them
up when it is imported, and raises when it is called.

Cost: see benchmarks/ops.py; half precision is computed in float32.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from compat import roi_align, torchvision_ops

_NAME = "mmcv._ext"


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Kept indices [K] of boxes [N, 4] and scores [N]; a box's width is x2 - x1 + offset."""
    # mmcv's operator compares in float32, torchvision's in float64: with the threshold rounded first they are one.
    iou_threshold = float(np.float32(iou_threshold))
    if offset == 0 and torchvision_ops.compiled_on(boxes.device.type):
        return torch.ops.torchvision.nms(boxes.float(), scores.float(), iou_threshold)
    return torchvision_ops.nms(boxes, scores, iou_threshold, offset)


def _compiled(features: Tensor) -> bool:
    """Whether torchvision's RoIAlign serves; on a GPU its gradient varies with the order of threads, ours does not."""
    deterministic = features.device.type != "cpu" and torch.are_deterministic_algorithms_enabled()
    return torchvision_ops.compiled_on(features.device.type) and not deterministic


def _wide(*tensors: Tensor) -> list[Tensor]:
    """float16 and bfloat16 as float32: eight bits of coordinate would misplace the samples."""
    return [t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors]


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Pool input [B, C, H, W] in rois [R, 5] into output [R, C, aligned_height, aligned_width], in place.

    pool_mode 1 averages the samples; 0 takes their maximum and writes where it was into argmax_y and argmax_x.
    """
    features, boxes = _wide(input, rois)
    pooling = roi_align.Pooling((aligned_height, aligned_width), spatial_scale, sampling_ratio, aligned)
    if pool_mode == 0:
        for target, result in zip(
            (output, argmax_y, argmax_x), roi_align.forward_max(features, boxes, pooling), strict=True
        ):
            target.copy_(result)
    elif _compiled(input):
        output.copy_(
            torch.ops.torchvision.roi_align(
                features, boxes, spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned
            )
        )
    else:
        output.copy_(roi_align.forward(features, boxes, pooling))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the pooled features into grad_input [B, C, H, W], in place; arguments as the forward's."""
    gradient, boxes = _wide(grad_output, rois)
    if pool_mode == 0:
        result = roi_align.backward_max(gradient, boxes, *_wide(argmax_y, argmax_x), tuple(grad_input.shape))
    elif _compiled(grad_output):
        result = torch.ops.torchvision._roi_align_backward(
            gradient, boxes, spatial_scale, aligned_height, aligned_width, *grad_input.shape, sampling_ratio, aligned
        )
    else:
        pooling = roi_align.Pooling((aligned_height, aligned_width), spatial_scale, sampling_ratio, aligned)
        result = roi_align.backward(gradient, boxes, tuple(grad_input.shape), pooling)
    grad_input.copy_(result)


def _version() -> str:
    return "none: mmcv-lite with the operators of DenseBench's compat/"


def _absent(name: str) -> Callable:
    """A module's `__getattr__`: an operator that says what to install when it is called."""
    if name.startswith("__"):
        raise AttributeError(name)

    def operator(*args: object, **kwargs: object) -> None:
        raise NotImplementedError(
            f"mmcv operator {name!r} is not among those compat/ supplies: install a compiled mmcv "
            "(MMCV_WITH_OPS=1 pip install --no-build-isolation mmcv==2.1.0) in place of mmcv-lite"
        )

    return operator


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `mmcv._ext` where nothing else does, and fills the module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for `mmcv._ext` alone; the spec also serves mmengine, which asks whether the operators exist."""
        return importlib.machinery.ModuleSpec(_NAME, self, origin=__file__) if fullname == _NAME else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module with the operators."""
        module.nms, module.roi_align_forward, module.roi_align_backward = nms, roi_align_forward, roi_align_backward
        module.get_compiler_version = module.get_compiling_cuda_version = _version
        module.__getattr__ = _absent


def install() -> None:
    """Put the finder last in `sys.meta_path`; repeating it changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
