"""GPU hours of the protocols of `--scale paper`, by arithmetic from published training times.

COMMAND   python -m benchmarks.paper_cost
COST      two minutes of one core, 10 GiB; it needs no GPU
EXPECTED  the table of docs/protocols.md, "COST"

Published: MAE's ViT-B fine-tunes for 100 epochs of ImageNet-1K in 7 h 11 min and trains a linear probe for 90 epochs in
2 h 20 min, on 32 V100 in half precision (facebookresearch/mae, FINETUNE.md); ViTDet's ViT-B takes 0.314 s per image
with Mask R-CNN and 0.362 s with Cascade Mask R-CNN at 1024 pixels (detectron2, projects/ViTDet/README.md). The first
gives a rate of arithmetic: 3 x the forward pass's operations (the backward pass needs twice the forward's) x images /
hours. The other protocols divide their own images and operations, counted here with the suite's model of ViT-B/16, by
that rate. It is an estimate: memory-bound heads run below the rate, newer GPUs far above it.
"""

import sys
import tempfile
from pathlib import Path

import torch
from mmengine.registry import MODELS, DefaultScope
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from backbones import encoder_flops
from benchmarks import carry_out
from benchmarks.paper_steps import SIZES, VIT_B, batch, single_process, suite

IMAGENET, COCO, NYU = 1_281_167, 117_280, 24_231  # training images; COCO's that hold an object, 7330 batches of 16
GPUS, FINE_TUNING, LINEAR = 32, 7 + 11 / 60, 2 + 20 / 60  # hours
# protocol -> (task, what its batch looks like, images seen, seconds per image that ViTDet publishes)
PROTOCOLS = {
    "UperNet": ("upernet", "upernet", 160_000 * 16, None),
    "SemanticFPN": ("semantic_fpn", "upernet", 40_000 * 32, None),
    "Mask R-CNN 1x": ("mask_rcnn", "mask_rcnn", 12 * COCO, 0.314),
    "Cascade Mask R-CNN 3x": ("cascade_mask_rcnn", "mask_rcnn", 36 * COCO, 0.362),
    "Depth": ("depth", "depth", 25 * NYU, None),
}


def forward_flops(task: str, kind: str) -> int:
    """Operations of a training step's forward pass on one image, losses included (matrix products, convolutions)."""
    scope = "mmdet" if kind == "mask_rcnn" else "mmseg"
    with tempfile.TemporaryDirectory() as folder, DefaultScope.overwrite_default_scope(scope):
        model = single_process(MODELS.build(suite(task, Path(folder)).model)).train()
    data = batch(kind, SIZES[kind], 2, 80 if kind == "mask_rcnn" else 150)  # two: BN of 1 x 1 maps needs them
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(**model.data_preprocessor(data, True), mode="loss")
    return counter.get_total_flops() // 2


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    classify = encoder_flops(VIT_B, (224, 224))
    pace = 100 * IMAGENET / (FINE_TUNING * 3600 * GPUS)  # images per second of one V100
    rate = 3 * classify * pace  # operations
    print(f"MAE's fine-tuning: {pace:.0f} images/s and {rate / 1e12:.1f} TFLOP/s on each V100\n")
    print("| protocol | images seen | GFLOPs forward | images/s of a V100 | V100 hours | hours at ViTDet's pace |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, (task, kind, images, seconds) in PROTOCOLS.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        flops = forward_flops(task, kind)
        own = rate / (3 * flops)
        published = f"{images * seconds / 3600:.0f}" if seconds else ""
        hours = images / own / 3600
        print(
            f"| {name} | {images / 1e6:.2f} M | {flops / 1e9:.0f} | {own:.1f} | {hours:.0f} | {published} |", flush=True
        )
    for name, epochs, hours in (("Fine-tuning", 100, FINE_TUNING), ("Linear probe", 90, LINEAR)):
        total, images = GPUS * hours, epochs * IMAGENET
        own = images / (total * 3600)
        print(f"| {name} | {images / 1e6:.0f} M | {classify / 1e9:.0f} | {own:.0f} | {total:.0f} | |")


if __name__ == "__main__":
    carry_out(main)
