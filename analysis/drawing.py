"""Figures as SVG text: the same bytes for the same numbers, colours that colour-blind readers can tell apart."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

# Okabe and Ito's palette without its yellow, which is faint on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
INK, GRID = "#222222", "#cccccc"
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "densebench", "font.size": 9, "font.family": "DejaVu Sans",
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.titlesize": 10,
}  # fmt: skip


def svg(figure: Figure) -> str:
    """A figure as the text of an SVG file, without a date."""
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    return buffer.getvalue()


def chart(title: str, x: str, y: str, width: float = 5.0, height: float = 3.4) -> Figure:
    """A figure of one pair of axes with a light grid; width and height in inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), facecolor="white")
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure


def table_of_pictures(title: str, headers: Sequence[str], rows: Sequence[Sequence[np.ndarray]]) -> Figure:
    """Pictures in rows and columns, each RGB uint8 [H, W, 3]; the headers stand above the first row."""
    with matplotlib.rc_context(STYLE):
        size = (1.5 * len(headers), 1.5 * len(rows) + 0.5)
        figure = Figure(figsize=size, facecolor="white", layout="constrained")
        figure.suptitle(title, fontsize=10)
        grid = figure.subplots(len(rows), len(headers), squeeze=False)
        for line, row in zip(grid, rows, strict=True):
            for axes, picture in zip(line, row, strict=True):
                axes.imshow(picture, interpolation="none")  # the picture's own pixels, not a resampled copy
                axes.set_axis_off()
        for axes, header in zip(grid[0], headers, strict=True):
            axes.set_title(header, fontsize=8)
    return figure


def rgb(pixels: Tensor) -> np.ndarray:
    """uint8 [3, H, W] -> uint8 [H, W, 3]."""
    return pixels.permute(1, 2, 0).contiguous().numpy()


def over(pixels: Tensor, found: Tensor) -> np.ndarray:
    """A map [h, w] in colour over its image in grey, uint8 [3, H, W] -> uint8 [H, W, 3].

    The map is resized bilinearly and stretched to its own least and largest value; dark is low, yellow is high.
    """
    fine = upsample(found[None], pixels.shape[-2:])[0]
    spread = (fine - fine.min()) / (fine.max() - fine.min()).clamp(min=1e-12)
    colours = torch.from_numpy(matplotlib.colormaps["viridis"](spread.numpy())[..., :3])  # [H, W, 3] in 0..1
    grey = pixels.double().mean(dim=0)[..., None] / 255  # [H, W, 1]
    return (255 * (0.65 * colours + 0.35 * grey)).round().to(torch.uint8).numpy()


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [B, h, w] -> float32 [B, H, W], bilinear, cells aligned at the picture's border."""
    return F.interpolate(maps[:, None].float(), tuple(size), mode="bilinear", align_corners=False)[:, 0]
