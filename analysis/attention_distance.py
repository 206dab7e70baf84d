"""Mean attention distance of every head of every layer, in pixels (Dosovitskiy et al. 2021; liuxingbin/dbot, analysis).

With A the attention of layer l and head h after its softmax, class token's row and column dropped, and D_ij the
distance between the centres of patches i and j in pixels:

    distance(l, h) = mean over images and query patches i of sum_j A_ij D_ij

Rows are not brought back to sum 1 after the column of the class token has gone, as in dBOT's code: heads that look at
the class token then appear more local. `renormalise` does bring them back. Uniform attention gives the mean distance of
all pairs: 116.49 px for 14 x 14 patches of 16 px, whose largest distance is 294.16 px.
"""

import torch
from torch import Tensor
from tqdm import tqdm

from analysis.attention import each_block, grid_of
from analysis.drawing import COLOURS, INK, chart, svg
from analysis.finding import Finding, Scalar, identity, name_of
from analysis.pictures import load_pictures
from backbones.towers import Features

BATCH = 32


def run(checkpoint: str, images: str, count: int = 64, renormalise: bool = False) -> Finding:
    """Measure a checkpoint with a plain ViT or BEiT on the first `count` images of a folder.

    Raises:
        UserError: images or a checkpoint that cannot be used, or an encoder without attention over all patches.
    """
    features = Features(checkpoint)
    encoder, size = features.model, features.size
    grid = grid_of(encoder, size, f"checkpoint {checkpoint}")
    distances = patch_distances(grid, encoder.patch_embed.patch_size).to(features.device)
    prefix = encoder.num_prefix_tokens
    pixels = torch.stack([picture.pixels for picture in load_pictures(images, count, size)])
    total = 0.0
    with torch.inference_mode():
        for part in tqdm(pixels.split(BATCH), desc="attention distance", disable=None):
            inputs = features.preprocessor.normalise(part.to(features.device))
            of_blocks = each_block(encoder, inputs, lambda a: mean_distance(a, distances, prefix, renormalise).cpu())
            total = total + torch.stack(of_blocks).sum(dim=1)  # [layers, heads], summed over images
    found = total / len(pixels)
    uniform, farthest = float(distances.mean()), float(distances.max())
    deep = found[len(found) // 2 :]
    scalars = {
        "mean": Scalar(float(found.mean()), "px", "mean attention distance over all heads and layers"),
        "deep_spread": Scalar(float(deep.std(dim=1, correction=0).mean()), "px",
                              "standard deviation over the heads of a layer, mean of the deeper half of the layers"),
        "deep_lowest": Scalar(float(deep.min(dim=1).values.mean()), "px",
                              "distance of a layer's most local head, mean of the deeper half of the layers"),
        "uniform": Scalar(uniform, "px", "what attention to all patches alike would give"),
    }  # fmt: skip
    title = f"Mean attention distance: {name_of(features.meta)}"
    return Finding(
        title=title,
        checkpoints=[identity(features.meta)],
        settings={"images": len(pixels), "size": size, "grid": list(grid), "renormalise": renormalise},
        scalars=scalars,
        values={"distance_px": found.tolist(), "uniform_px": uniform, "farthest_px": farthest},
        figure=draw(title, found, uniform),
        words=f"Heads of {len(found)} layers attend over {float(found.min()):.1f} to {float(found.max()):.1f} pixels; "
        f"uniform attention would over {uniform:.1f}.",
    )


def patch_distances(grid: tuple[int, int], patch: tuple[int, int]) -> Tensor:
    """Distances between patch centres in pixels, float64 [N, N], patches in row-major order."""
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    places = torch.stack([rows.flatten() * patch[0], columns.flatten() * patch[1]], dim=1)  # [N, 2]
    return torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")


def mean_distance(attention: Tensor, distances: Tensor, prefix: int, renormalise: bool) -> Tensor:
    """Attention [B, heads, T, T] whose first `prefix` tokens are no patches -> float64 [B, heads] in pixels."""
    between = attention[:, :, prefix:, prefix:].double()  # [B, heads, N, N]
    if renormalise:
        between = between / between.sum(dim=-1, keepdim=True)
    return (between * distances).sum(dim=-1).mean(dim=-1)


def draw(title: str, found: Tensor, uniform: float) -> str:
    """A dot for every head over its layer, and a dashed line where attention is uniform."""
    figure = chart(title, "layer", "distance (px)")
    axes = figure.axes[0]
    layers = torch.arange(1, len(found) + 1)
    for head in found.T:
        axes.plot(layers, head, "o", color=COLOURS[0], markersize=4, alpha=0.75, markeredgewidth=0)
    axes.axhline(uniform, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    axes.annotate("uniform", (1, uniform), (2, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
                  fontsize=8, ha="right")  # fmt: skip
    axes.set_xticks(layers if len(found) <= 12 else layers[1::2])
    axes.set_ylim(0, 1.12 * max(uniform, float(found.max())))
    return svg(figure)
