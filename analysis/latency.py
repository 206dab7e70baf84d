"""Latency of an encoder, one image at a time, in its form for inference.

Encoders that train with parallel branches (FastViT, MobileCLIP's MCi) are re-parameterised by timm's
`reparameterize_model`, which changes no output; others stay as they are. Evaluation mode, batch 1, the checkpoint's own
image size unless told, warm-up first, then the median of single runs. Published latencies of the MobileCLIP line are of
a phone: a number from here says something beside other numbers from the same machine.
"""

import time

import numpy as np
import torch
from timm.models import reparameterize_model
from torch import nn

from analysis.drawing import COLOURS, INK, chart, svg
from analysis.finding import Finding, Scalar, identity, name_of
from backbones import flops_per_image, load_encoder, parameter_count
from engine.errors import UserError
from engine.provenance import hardware

WARM_UP, LEAST = 20, 100


def run(checkpoint: str, size: int | None = None, runs: int = 200) -> Finding:
    """Time a checkpoint's encoder.

    Args:
        checkpoint: its folder. size: pixels per side of the image. runs: how many are timed.

    Raises:
        UserError: a checkpoint that cannot be used, fewer than 100 runs, or an image size that the encoder refuses.
    """
    if runs < LEAST:
        raise UserError(f"a median of {runs} runs is too uncertain: give --runs {LEAST} or more")
    encoder, meta, _ = load_encoder(checkpoint)
    trained = parameter_count(encoder)
    encoder = for_inference(encoder).to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    size = size or meta["image"]["size"]
    try:
        seconds = timed(encoder, size, runs)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{meta['encoder']['name']} refuses an image of {size} pixels per side ({reason})") from error
    milliseconds = 1000 * np.array(seconds)
    low, median, high = np.percentile(milliseconds, (10, 50, 90))
    machine = hardware()
    where = f"{machine['device']} ({machine['cpu']}), {machine['threads']} thread(s)"
    fused = parameter_count(encoder)
    title = f"Latency at {size} x {size}: {name_of(meta)}"
    print(f"machine: {where}", flush=True)
    return Finding(
        title=title,
        checkpoints=[identity(meta)],
        settings={"size": size, "batch": 1, "warm_up": WARM_UP, "runs": runs, "reparameterised": fused != trained,
                  "machine": where},
        scalars={
            "median": Scalar(float(median), "ms", "median time of one image"),
            "tenth": Scalar(float(low), "ms", "a tenth of the runs take less"),
            "ninetieth": Scalar(float(high), "ms", "a tenth of the runs take more"),
            "parameters": Scalar(fused / 1e6, "M", "parameters in the form for inference"),
            "flops": Scalar(flops_per_image(encoder, size, size) / 1e9, "GFLOPs", "per image, 2 per multiply-add"),
        },
        values={"milliseconds": milliseconds.round(4).tolist()},
        figure=draw(title, milliseconds, float(median)),
        words=f"Half of {runs} runs take at most {median:.2f} ms, nine in ten at most {high:.2f} ms, on {where}."
        + (" Something else was running: they vary widely." if high > 2 * median else ""),
    )  # fmt: skip


def for_inference(encoder: nn.Module) -> nn.Module:
    """The encoder in evaluation mode with its parallel branches merged, where it has any; a copy."""
    return reparameterize_model(encoder.eval()).eval().requires_grad_(False)


@torch.inference_mode()
def timed(encoder: nn.Module, size: int, runs: int) -> list[float]:
    """Seconds of each of `runs` passes of one image, after warm-up."""
    device = next(encoder.parameters()).device
    image = torch.rand(1, 3, size, size, device=device)
    seconds = []
    for number in range(WARM_UP + runs):
        start = time.perf_counter()
        encoder(image)
        if device.type == "cuda":
            torch.cuda.synchronize()  # the pass is over when the device is done, not when it has been asked
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - start)
    return seconds


def draw(title: str, milliseconds: np.ndarray, median: float) -> str:
    """Which share of the runs took at most so long."""
    figure = chart(title, "time of one image (ms)", "share of runs (%)")
    axes = figure.axes[0]
    axes.plot(np.sort(milliseconds), 100 * np.arange(1, len(milliseconds) + 1) / len(milliseconds), color=COLOURS[0])
    axes.axvline(median, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    axes.annotate(f"median {median:.2f} ms", (median, 3), (4, 0), textcoords="offset points", fontsize=8)
    axes.set_xlim(0, float(np.percentile(milliseconds, 99)) * 1.1)
    axes.set_ylim(0, 101)
    return svg(figure)
