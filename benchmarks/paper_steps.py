"""A training step of each downstream task at paper size, beside mmseg's and mmdet's own models in the same run.

COMMAND   python -m benchmarks.paper_steps [--batch 2] [--steps 20]
COST      about three minutes on a GPU; on a processor use --size 64 --batch 2 --steps 1 to see that all of it runs
EXPECTED  one row per model: images per second, peak memory, parameters, and images per second beside the suite's

The suite's models are ViT-B/16 in the configs of `--scale paper`, without layer decay's many groups: both sides train
with one AdamW. Beside them: mmseg's UperNet on its own ViT-B and BEiT-B, mmdet's Mask R-CNN on Swin with B's sizes
(mmdet has no plain ViT in its configs), and the depth head on mmseg's Swin-B. Random weights, random images, bf16
autocast on a GPU. Each model runs in a process of its own, so that peaks are its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mmdet
import mmseg
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

import depth  # noqa: F401
import engine.parts  # noqa: F401
from backbones import build_encoder, fill_encoder_parts, parameter_count, save_checkpoint
from benchmarks import carry_out
from engine.catalogue import TASK
from study.configure import load_config

VIT_B = {"name": "vit_base_patch16_224", "kwargs": {}}
SWIN_B = dict(embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), drop_path_rate=0.3)
SIZES = {"upernet": (512, 512), "mask_rcnn": (800, 1344), "depth": (480, 480)}  # COCO's largest, padded to 32
MMSEG, MMDET = (Path(package.__file__).parent / ".mim" / "configs" for package in (mmseg, mmdet))
# (task, name, the file of a config, or None for the suite's with another backbone)
MODELS_BESIDE = [
    ("upernet", "mmseg ViT-B/16", MMSEG / "vit/vit_vit-b16_mln_upernet_8xb2-160k_ade20k-512x512.py"),
    ("upernet", "mmseg BEiT-B/16", MMSEG / "beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py"),
    ("mask_rcnn", "mmdet Swin-B", MMDET / "swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py"),
    ("depth", "mmseg Swin-B", None),
]


def suite(task: str, folder: Path) -> Config:
    """The whole model of one of the suite's tasks on ViT-B/16."""
    meta = {
        "method": "clip", "captions": None, "seed": 0, "scale": "paper", "encoder": VIT_B, "parent": None,
        "image": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "size": 224},
        "data": {"name": "none", "samples": 0}, "samples_seen": 0, "updates": 0, "config_hash": "0" * 8,
        "code_version": "benchmark", "ledger": None, "text": None,
        "cost": {"wall_s": None, "samples_per_s": None, "peak_memory_mib": None, "hardware": None},
    }  # fmt: skip
    save_checkpoint(folder / "checkpoint", build_encoder(**VIT_B), meta)
    cfg = load_config(TASK[task].config, scale="paper", checkpoint=str(folder / "checkpoint"))
    fill_encoder_parts(cfg, folder / "checkpoint", cfg.get("drop_path_rate"))
    return cfg


def beside(task: str, file: Path | None, folder: Path, size: tuple[int, int]) -> Config:
    """The other library's model, made for images of `size`."""
    swin = dict(type="mmseg.SwinTransformer", window_size=7, mlp_ratio=4, patch_norm=True, **SWIN_B)
    if file is None:
        cfg = suite(task, folder)
        cfg.model.backbone = dict(**swin, out_indices=(3,))
        cfg.model.decode_head.update(in_channels=1024, feature_stride=32)
        return cfg
    cfg = Config.fromfile(file)
    if task == "mask_rcnn":
        cfg.model.backbone.update(SWIN_B, init_cfg=None)
        cfg.model.neck.in_channels = [128, 256, 512, 1024]
    else:
        cfg.model.pretrained = None
        cfg.model.backbone.update(img_size=size)
    return cfg


def batch(task: str, size: tuple[int, int], images: int, classes: int) -> dict:
    """Random images [3, H, W] and their samples, as a loader gives them."""
    generator = np.random.default_rng(0)
    height, width = size
    inputs, samples = [], []
    for _ in range(images):
        inputs.append(torch.from_numpy(generator.integers(0, 256, (3, height, width), dtype=np.uint8)))
        shape = dict(img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0))
        if task == "mask_rcnn":
            sample, objects = DetDataSample(metainfo=shape), 12
            corner = generator.random((objects, 2)) * (width / 2, height / 2)
            boxes = np.concatenate([corner, corner + (0.1 + 0.4 * generator.random((objects, 2))) * (width, height)], 1)
            masks = np.zeros((objects, height, width), dtype=np.uint8)
            for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
                mask[y1:y2, x1:x2] = 1
            sample.gt_instances = InstanceData(bboxes=torch.from_numpy(boxes).float(),
                                               labels=torch.from_numpy(generator.integers(0, classes, objects)),
                                               masks=BitmapMasks(masks, height, width))  # fmt: skip
            sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        elif task == "depth":
            sample = SegDataSample(metainfo=shape)
            sample.gt_depth_map = PixelData(data=torch.rand(1, height, width) * 9 + 0.5)
        else:
            sample = SegDataSample(metainfo=shape)
            sample.gt_sem_seg = PixelData(data=torch.randint(0, classes, (1, height, width)))
        samples.append(sample)
    return {"inputs": inputs, "data_samples": samples}


def single_process(model: nn.Module) -> nn.Module:
    """Plain BN for synchronised: one process has nothing to synchronise."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.SyncBatchNorm):
                setattr(parent, name, nn.BatchNorm2d(child.num_features, child.eps, child.momentum))
    return model


def measure(cfg: Config, task: str, size: tuple[int, int], images: int, steps: int) -> str:
    """Images per second, peak memory in GiB and parameters in millions of `steps` updates after two to warm up."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scope = {"mask_rcnn": "mmdet"}.get(task, "mmseg")
    if "size" in cfg.model.data_preprocessor:  # what mmseg pads every image to
        cfg.model.data_preprocessor.size = size
    with DefaultScope.overwrite_default_scope(scope):
        model = single_process(MODELS.build(cfg.model)).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    data = batch(task, size, images, 80 if task == "mask_rcnn" else 150)
    start = 0.0
    for step in range(2 + steps):
        if step == 2:
            start = now(device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            losses = model(**model.data_preprocessor(data, True), mode="loss")
        total = sum_losses(losses)
        total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    pace = images * steps / (now(device) - start)
    peak = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return f"{pace:.3f} {peak / 2**30:.2f} {parameter_count(model) / 1e6:.1f}"


def now(device: str) -> float:
    """Seconds, once the device has done its work."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def sum_losses(losses: dict[str, Tensor | list[Tensor]]) -> Tensor:
    """The sum of what is named a loss."""
    return sum(sum(v) if isinstance(v, list) else v for name, v in losses.items() if "loss" in name)


def main() -> None:
    """Run every model in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2, help="images of a step (default %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps (default %(default)s)")
    parser.add_argument("--size", type=int, help="side of a square instead of the paper's image size; a multiple of 32")
    parser.add_argument("--time-limit", type=float, help="seconds, after which models are left out (default: none)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)  # task and number of the model to run
    args = parser.parse_args()
    if args.child:
        task, number = args.child[0], int(args.child[1])
        size = (args.size, args.size) if args.size else SIZES[task]
        with tempfile.TemporaryDirectory() as folder:
            cfg = (
                suite(task, Path(folder)) if number < 0 else beside(task, MODELS_BESIDE[number][2], Path(folder), size)
            )
            print(measure(cfg, task, size, args.batch, args.steps))
        return
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"processor, {torch.get_num_threads()} threads"
    )
    print(f"{device}; {args.batch} images a step, {args.steps} steps\n")
    print(
        "| task | size | model | images/s | beside the suite's | peak memory, GiB | parameters, M |\n|---|---|---|"
        + "---:|" * 4
    )
    options = [
        "--batch",
        str(args.batch),
        "--steps",
        str(args.steps),
        *(["--size", str(args.size)] if args.size else []),
    ]
    failed, until = False, args.time_limit and time.monotonic() + args.time_limit
    for task in SIZES:
        size = (args.size, args.size) if args.size else SIZES[task]
        rows = [("suite ViT-B/16", -1), *((name, k) for k, (own, name, _) in enumerate(MODELS_BESIDE) if own == task)]
        first = None
        for name, number in rows:
            print(f"{task} {name} ...", file=sys.stderr, flush=True)
            command = [sys.executable, "-m", "benchmarks.paper_steps", "--child", task, str(number), *options]
            row = f"| {task} | {size[0]} x {size[1]} | {name}"
            try:
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                                      timeout=until and max(0.0, until - time.monotonic()))  # fmt: skip
            except subprocess.TimeoutExpired:
                print(f"{row} | left out: the time is up | – | – | – |", flush=True)
                continue
            if done.returncode:
                failed = True
                print(f"{row} | failed, see above | – | – | – |", flush=True)
                continue
            pace, peak, parameters = done.stdout.split()[-3:]
            first = float(pace) if number < 0 else first
            ratio = f"{float(pace) / first:.2f}" if first else "–"
            print(f"{row} | {pace} | {ratio} | {peak} | {parameters} |", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    carry_out(main)
