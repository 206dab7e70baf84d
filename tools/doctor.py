"""What this machine has, what each missing part would cost you, and which data sets are ready: one screen.

    python tools/doctor.py

Takes some seconds, changes nothing, needs no network. The exit status is 0 where `make demo` can run, 1 where not.
"""

import os
from collections.abc import Sequence

import start  # isort: split

from study.doctor import Finding, checkpoints, data_sets, machine, modules, packages, speed

# Of the published protocols with ViT-B/16: images seen in training, and the side of a square of as many pixels.
PAPER = {"UperNet": (2.56e6, 512), "Mask R-CNN 1x": (1.41e6, 1024), "depth": (0.61e6, 480)}
MARKS = {"ok": "ok     ", "note": "note   ", "missing": "MISSING"}


def accelerator() -> list[Finding]:
    """The GPU, or what it costs to have none: hours of the published protocols at the speed measured here."""
    import torch

    from backbones import build_encoder, flops_per_image

    gpu = torch.cuda.is_available()
    rate = speed("cuda" if gpu else "cpu", "bfloat16" if gpu else "float32")
    with torch.device("meta"):
        encoder = build_encoder("vit_base_patch16_224", {}).requires_grad_(False)
    hours = {name: 3 * flops_per_image(encoder, side, side) * images / rate / 3600
             for name, (images, side) in PAPER.items()}  # fmt: skip
    pace = f"{rate / 1e12:.2f} TFLOP/s measured"
    needs = ", ".join(f"{name} {value:,.0f} h" if value < 100 else f"{name} {value / 24:,.0f} days"
                      for name, value in hours.items())  # fmt: skip
    limit = f"a ViT-B/16 at --scale paper takes at least: {needs} (3 x the encoder's FLOPs at that speed)"
    if gpu:
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        text = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}, {memory:.0f} GiB, {pace} (bf16)"
        return [Finding("ok", "GPU", text, limit), *operators()]
    why = (
        "this torch is a CPU build" if torch.version.cuda is None else "torch sees none: driver, CUDA_VISIBLE_DEVICES?"
    )
    return [Finding("note", "GPU", f"none ({why}); {pace} on the processor", limit), *operators()]


def operators() -> list[Finding]:
    """Whether torchvision's compiled operators serve detection, or those of compat."""
    import torch

    from compat.torchvision_ops import compiled_on

    if compiled_on("cuda" if torch.cuda.is_available() else "cpu"):
        return [Finding("ok", "operators", "compiled nms and RoIAlign")]
    return [Finding("note", "operators", "nms and RoIAlign of compat/, none compiled",
                    "equal results; what they cost in time: docs/operators.md")]  # fmt: skip


def show(title: str, findings: list[Finding]) -> None:
    """Print one block."""
    print(title)
    for finding in findings:
        print(f"  {MARKS[finding.state]} {finding.name:<15} {finding.text}")
        if finding.cost:
            print(f"  {'':<7} {'':<15} -> {finding.cost}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, print, judge."""
    start.parser_of(__doc__).parse_args(arguments)
    needed = machine(start.ROOT) + packages(start.ROOT / "requirements.txt")
    broken = [finding.name for finding in needed if finding.state == "missing"]
    if not broken:  # else every import would say again what is missing
        needed += modules()
        broken = [finding.name for finding in needed if finding.state == "missing"]
    show("machine", needed if broken else needed + accelerator())
    show("data", data_sets(start.ROOT / "data"))
    show("encoders", checkpoints(start.ROOT / "runs"))
    mend = "delete .venv, make setup (or pip install -r requirements.txt)"
    print(f"make demo cannot run; to mend it: {mend}" if broken else "make demo can run")
    return 1 if broken else 0


if __name__ == "__main__":
    start.run(main, threads=os.cpu_count() or 1)  # the speed of the whole machine
