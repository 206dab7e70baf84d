"""Time the fallback operators of compat/ beside torchvision's compiled ones, where those load.

COMMAND   python -m benchmarks.ops [--device cuda] [--threads 1]
COST      under a minute on one core
EXPECTED  one line per case: milliseconds of the fallback, of the compiled operator, and their ratio
"""

import argparse
import time
from collections.abc import Callable

import torch

from benchmarks import carry_out
from compat import roi_align, torchvision_ops

# (what, images, channels, rows, columns of the finest map of stride 4, levels, RoIs, bins)
ROI_CASES = [
    ("scenes 64 x 64, box head", 8, 96, 16, 16, 4, 1000, 7),
    ("scenes 64 x 64, mask head", 8, 96, 16, 16, 4, 256, 14),
    ("scenes 64 x 64, 256 channels", 8, 256, 16, 16, 4, 1000, 7),
    ("COCO 800 x 1216, box head", 1, 256, 200, 304, 4, 512, 7),
    ("COCO 800 x 1216, finest map alone", 1, 256, 200, 304, 1, 512, 7),
    ("COCO 800 x 1216, mask head", 1, 256, 200, 304, 4, 128, 14),
]


def milliseconds(function: Callable, device: str, seconds: float = 1.0) -> float:
    """The median of as many runs as fit, three at least."""
    times, end = [], time.perf_counter() + seconds
    function()
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times)[len(times) // 2]


def boxes_in(height: int, width: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """Boxes [N, 4] inside an image, sides from 8 pixels to the whole, small ones frequent."""
    size = torch.tensor([width, height])
    sides = 8 + torch.rand(count, 2, generator=generator) ** 3 * (size - 8)
    corner = torch.rand(count, 2, generator=generator) * (size - sides)
    return torch.cat([corner, corner + sides], dim=1)


def roi_case(
    images: int, channels: int, rows: int, columns: int, levels: int, count: int, generator: torch.Generator
) -> list[tuple[torch.Tensor, torch.Tensor, float]]:
    """Per level its map [B, C, H, W], its RoIs [R, 5] and its scale; RoIs go to levels by size as in FPN."""
    boxes = boxes_in(4 * rows, 4 * columns, count, generator)
    level = ((boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt() / 56).log2().floor().clamp(0, levels - 1)
    rois = torch.cat([torch.randint(0, images, (count, 1), generator=generator), boxes], dim=1)
    return [
        (torch.randn(images, channels, rows >> n, columns >> n, generator=generator), rois[level == n], 0.25 / 2**n)
        for n in range(levels)
    ]


def report(what: str, device: str, fallback: Callable, compiled: Callable | None) -> None:
    """Time one case and print its line."""
    ours = milliseconds(fallback, device)
    if compiled is None:
        print(f"{what:52}{ours:10.1f}")
        return
    theirs = milliseconds(compiled, device)
    print(f"{what:52}{ours:10.1f}{theirs:10.1f}{ours / theirs:8.2f}")


def main() -> None:
    """Parse the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch (default 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, compiled, generator = arguments.device, torchvision_ops.compiled_on(arguments.device), torch.Generator()
    operators = torch.ops.torchvision if compiled else None
    if not compiled:
        print(f"torchvision's compiled operators do not load on {device}: the fallback alone")
    print(f"{'milliseconds':52}{'fallback':>10}" + (f"{'compiled':>10}{'ratio':>8}" if compiled else ""))
    for count in (100, 1000, 4000):
        for crowd, size in (("crowded", 400), ("sparse", 8000)):
            generator.manual_seed(count)
            boxes = boxes_in(400, 400, count, generator) + torch.rand(count, 1, generator=generator) * (size - 400)
            boxes, scores = boxes.to(device), torch.rand(count, generator=generator).to(device)
            report(
                f"nms, {count} boxes, {crowd}",
                device,
                lambda b=boxes, s=scores: torchvision_ops.nms(b, s, 0.5),
                (lambda b=boxes, s=scores: operators.nms(b, s, 0.5)) if compiled else None,
            )
    for what, images, channels, rows, columns, levels, count, bins in ROI_CASES:
        generator.manual_seed(count)
        case = [
            (features.to(device), rois.to(device), roi_align.Pooling((bins, bins), scale, 0, True))
            for features, rois, scale in roi_case(images, channels, rows, columns, levels, count, generator)
        ]
        gradients = [
            torch.randn(len(rois), channels, bins, bins, generator=generator).to(device) for _, rois, _ in case
        ]
        what = f"{what}, {count} RoIs {bins} x {bins}"
        report(
            f"{what}, forward",
            device,
            lambda c=case: [roi_align.forward(*level) for level in c],
            (lambda c=case, b=bins: [operators.roi_align(f, r, p.scale, b, b, 0, True) for f, r, p in c])
            if compiled
            else None,
        )
        report(
            f"{what}, backward",
            device,
            lambda c=case, g=gradients: [
                roi_align.backward(grad, rois, tuple(f.shape), pooling)
                for grad, (f, rois, pooling) in zip(g, c, strict=True)
            ],
            (
                lambda c=case, g=gradients, b=bins: [
                    operators._roi_align_backward(grad, r, p.scale, b, b, *f.shape, 0, True)
                    for grad, (f, r, p) in zip(g, c, strict=True)
                ]
            )
            if compiled
            else None,
        )


if __name__ == "__main__":
    carry_out(main)
