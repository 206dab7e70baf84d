"""The suite on a GPU in one go: steps of the methods at the published sizes, then the tasks beside mmseg's and mmdet's.

COMMAND   python -m benchmarks.gpu > docs/gpu.md     on a machine with a GPU
COST      below six minutes on one of the A100's class or above; --time-limit leaves out what no longer fits
EXPECTED  a row for each method and task; on a processor, --small shows that all of it runs

Methods: ViT-B/16 of `--scale paper` with random weights, images and captions of web lengths, bf16 autocast, a whole
update (optimizer and teacher included). Each runs in a process of its own, so that peaks are its own. MFU is the share
of the device's dense bf16 peak that goes into matrix products, forward and backward, by torch's FLOP counter. "Device
without work" is the share of the wall in which no kernel runs, by torch's profiler: the batch lies on the device, so it
is the device's waiting for the host to launch, and for whatever reads a result.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import carry_out
from benchmarks.maskclip_cost import web_captions
from benchmarks.methods import Bench, build
from engine.provenance import hardware, versions
from pretrain.data.dataset import pretrain_collate

METHODS = {"mae": 256, "clip": 256, "maskclip": 192, "cae": 128, "dino": 48}  # images of a step
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "V100": 125e12}  # dense, bf16
STEPS, WARM_UP = 12, 4
SMALL = dict(encoder=dict(name="vit_tiny_patch16_224", kwargs=dict(depth=2)), batch=2, steps=2)


def prepared(method: str, batch: int, small: bool, folder: Path) -> Bench:
    """A method at scale paper with a batch on the device."""
    bench = build(method, "paper", batch, 20, folder, SMALL["encoder"] if small else None)
    if "tokens" in bench.inputs:
        device, context = bench.inputs["tokens"].device, bench.model.text.kwargs["context"]
        rows = [dict(tokens=row) for row in web_captions(batch, 20, context)]
        texts = pretrain_collate(rows, bench.cfg.train_dataloader.collate_fn.get("packed", False))["inputs"]
        bench.inputs |= {name: value.to(device) for name, value in texts.items()}
    return bench


def update(bench: Bench, device: str) -> None:
    """One whole update under bf16."""
    bench.model.before_step(0.5)
    with torch.autocast(device, dtype=torch.bfloat16):
        loss = bench.loss()
    bench.optimizer.update_params(loss)
    bench.model.after_step(0.5)


def measured(method: str, batch: int, small: bool) -> dict[str, float | None]:
    """Images a second, TFLOP of an image, MFU, peak GiB and the share of the wall without work on the device."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    steps = SMALL["steps"] if small else STEPS
    with tempfile.TemporaryDirectory() as folder:
        bench = prepared(method, batch, small, Path(folder))
    work = bench.flops()
    for _ in range(1 if small else WARM_UP):
        update(bench, device)
    if device == "cpu":
        start = time.perf_counter()
        for _ in range(steps):
            update(bench, device)
        wall = time.perf_counter() - start
        return dict(pace=batch * steps / wall, tflop=work / batch / 1e12, mfu=None, peak=None, idle=None)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for _ in range(steps):
        update(bench, device)
    torch.cuda.synchronize()
    wall = time.perf_counter() - start
    busy = device_seconds(bench, device, steps)
    name = torch.cuda.get_device_name()
    most = next((peak for known, peak in PEAKS.items() if known in name), None)
    return dict(
        pace=batch * steps / wall, tflop=work / batch / 1e12, mfu=most and work * steps / wall / most,
        peak=torch.cuda.max_memory_allocated() / 2**30, idle=max(0.0, 1 - busy / wall),
    )  # fmt: skip


def device_seconds(bench: Bench, device: str, steps: int) -> float:
    """Seconds in which kernels ran, of as many updates, by torch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(steps):
            update(bench, device)
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1e6


def shown(value: float | None, form: str) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else format(value, form)


def children(args: argparse.Namespace, until: float) -> None:
    """Print a row for each method, in processes of their own, as long as there is time."""
    print("| method | images a step | images/s | TFLOP an image | MFU | peak memory, GiB | device without work |\n"
          "|---|---:|---:|---:|---:|---:|---:|", flush=True)  # fmt: skip
    for method in args.methods:
        batch = SMALL["batch"] if args.small else METHODS[method]
        if time.monotonic() > until:
            print(f"| {method} | {batch} | left out: the time is up | – | – | – | – |", flush=True)
            continue
        command = [sys.executable, "-m", "benchmarks.gpu", "--child", method, *["--small"] * args.small]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"| {method} | {batch} | failed, status {done.returncode} | – | – | – | – |", flush=True)
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        print(f"| {method} | {batch} | {row['pace']:.1f} | {row['tflop']:.3f} | {shown(row['mfu'], '.1%')} | "
              f"{shown(row['peak'], '.1f')} | {shown(row['idle'], '.1%')} |", flush=True)  # fmt: skip


def main() -> None:
    """Print docs/gpu.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--small", action="store_true", help="two blocks of a tiny ViT, two images: does all of it run?"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--time-limit", type=float, default=330, help="seconds (default %(default)s)")
    parser.add_argument("--child", choices=METHODS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        batch = SMALL["batch"] if args.small else METHODS[args.child]
        print(json.dumps(measured(args.child, batch, args.small)))
        return
    until = time.monotonic() + (3600 if args.small else args.time_limit)
    about = {**versions(), **hardware()}
    print("# On a GPU\n\nPrinted by `python -m benchmarks.gpu`. " + ", ".join(f"{k} {v}" for k, v in about.items()))
    print("\n## Updates of the methods, ViT-B/16, bf16\n", flush=True)
    children(args, until - 120)
    print("\n## Tasks beside mmseg's and mmdet's own models\n", flush=True)
    if time.monotonic() > until - 60:
        print("left out: the time is up")
        return
    size = ["--size", "64", "--batch", "2", "--steps", "1"] if args.small else ["--batch", "2", "--steps", "10"]
    limit = ["--time-limit", str(until - time.monotonic())]
    sys.exit(subprocess.run([sys.executable, "-m", "benchmarks.paper_steps", *size, *limit]).returncode)


if __name__ == "__main__":
    carry_out(main)
