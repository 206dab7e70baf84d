"""Where the last block looks: attention of the class token and of the mean patch (Chen et al. 2022, CAE; DINO).

From the attention A of the last block, its mean over heads, patches as columns only, brought to sum 1:

    class map   a = A[class, patches]                    where the encoder has a class token
    patch map   a = mean over query patches of A[patch, patches]

The class token of BEiT and CAE is hardly trained by their losses, hence the second. Per map, mean over images:

    entropy         - sum a log2 a, in bits; log2 N where attention is uniform
    inside objects  sum of a over the share of each patch that objects' masks cover; needs masks
    centre overlap  sum min(a, g), where g is a Gaussian at the image's centre whose standard deviation is a quarter of
                    the side, summing to 1

CAE's authors explain centred attention of contrastive methods by random crops, which nearly all hold the centre of the
image: the share of crops by RandomResizedCrop's rule that do is measured too.
"""

import math

import torch
from torch import Tensor
from tqdm import tqdm

from analysis.attention import each_block, grid_of
from analysis.drawing import over, rgb, svg, table_of_pictures
from analysis.finding import Finding, Scalar, identity, name_of
from analysis.pictures import Picture, coverage, load_pictures
from backbones.towers import Features
from engine.seeding import seed_host
from pretrain.data.augment import RandomCrop

BATCH, SHOWN, CROPS = 32, 5, 10_000
CROP_SCALES = ((0.08, 1.0), (0.2, 1.0))
MAPS = {"class": "class token", "patch": "mean patch"}


def run(checkpoint: str, images: str, masks: str | None = None, count: int = 64) -> Finding:
    """Measure a checkpoint with a plain ViT or BEiT on the first `count` images of a folder.

    Raises:
        UserError: images, masks or a checkpoint that cannot be used, or an encoder without attention over all patches.
    """
    features = Features(checkpoint)
    encoder, size = features.model, features.size
    grid = grid_of(encoder, size, f"checkpoint {checkpoint}")
    pictures = load_pictures(images, count, size, masks)
    pixels = torch.stack([picture.pixels for picture in pictures])
    with_class = getattr(encoder, "cls_token", None) is not None
    found = {"class": [], "patch": []} if with_class else {"patch": []}
    with torch.inference_mode():
        for part in tqdm(pixels.split(BATCH), desc="attention maps", disable=None):
            inputs = features.preprocessor.normalise(part.to(features.device))
            attention = each_block(encoder, inputs, lambda a: two_maps(a, encoder.num_prefix_tokens))[-1]
            for name, maps in found.items():
                maps.append(attention[name].cpu())
    maps = {name: torch.cat(parts) for name, parts in found.items()}  # [images, N] each
    title = f"Attention of the last block: {name_of(features.meta)}"
    headers = ["image", *(MAPS[name] for name in maps)]
    rows = [[rgb(picture.pixels), *(over(picture.pixels, maps[name][i].view(grid)) for name in maps)]
            for i, picture in enumerate(pictures[:SHOWN])]  # fmt: skip
    scalars = measure(maps, pictures, grid)
    entropies = ", ".join(f"{MAPS[name]} {scalars[f'{name}_entropy'].value:.2f}" for name in maps)
    return Finding(
        title=title,
        checkpoints=[identity(features.meta)],
        settings={"images": len(pixels), "size": size, "grid": list(grid), "masks": masks is not None,
                  "crops": CROPS, "centre_std": 0.25},
        scalars=scalars,
        values={"mean_map": {name: of_all.mean(dim=0).view(grid).tolist() for name, of_all in maps.items()}},
        figure=svg(table_of_pictures(title, headers, rows)),
        words=f"Attention over {len(rows)} images, dark low and yellow high. Entropy in bits: {entropies}; uniform "
        f"attention has {math.log2(math.prod(grid)):.2f}.",
    )  # fmt: skip


def two_maps(attention: Tensor, prefix: int) -> dict[str, Tensor]:
    """Attention [B, heads, T, T] -> the class token's and the mean patch's map, float64 [B, N], each of sum 1."""
    over_heads = attention.double().mean(dim=1)[:, :, prefix:]  # [B, T, N]
    maps = {"class": over_heads[:, 0], "patch": over_heads[:, prefix:].mean(dim=1)}
    return {name: found / found.sum(dim=-1, keepdim=True) for name, found in maps.items()}


def measure(maps: dict[str, Tensor], pictures: list[Picture], grid: tuple[int, int]) -> dict[str, Scalar]:
    """The scalars of the maps [images, N] of pictures."""
    patches = grid[0] * grid[1]
    centre = centre_prior(grid).flatten()
    inside = [coverage(union(picture), grid).flatten() for picture in pictures if picture.masks]
    masked = torch.tensor([bool(picture.masks) for picture in pictures])
    scalars = {}
    for name, of_all in maps.items():
        token, bits = MAPS[name], float(entropy(of_all).mean())
        scalars[f"{name}_entropy"] = Scalar(bits, "bits", f"entropy of the {token}'s attention")
        if inside:
            share = (of_all[masked] * torch.stack(inside)).sum(dim=-1).mean()
            scalars[f"{name}_inside"] = Scalar(100 * float(share), "%", f"share of the {token}'s attention on objects")
        overlap = torch.minimum(of_all, centre).sum(dim=-1).mean()
        scalars[f"{name}_centre"] = Scalar(100 * float(overlap), "%", f"overlap of the {token}'s map with the centre")
    scalars["uniform_entropy"] = Scalar(math.log2(patches), "bits", "entropy of uniform attention")
    if inside:
        share = torch.stack(inside).mean()
        scalars["uniform_inside"] = Scalar(100 * float(share), "%", "share of the picture that objects cover")
    overlap = centre.clamp(max=1 / patches).sum()
    scalars["uniform_centre"] = Scalar(100 * float(overlap), "%", "overlap of a uniform map with the centre")
    for scale in CROP_SCALES:
        about = f"random crops of {scale[0]:g} to {scale[1]:g} of the area that hold the image's centre"
        scalars[f"crops_{scale[0]:g}"] = Scalar(100 * crops_with_centre(scale), "%", about)
    return scalars


def entropy(maps: Tensor) -> Tensor:
    """Distributions [..., N] -> bits [...]; a patch without attention adds nothing."""
    return -torch.special.xlogy(maps, maps).sum(dim=-1) / math.log(2)


def centre_prior(grid: tuple[int, int], std: float = 0.25) -> Tensor:
    """A Gaussian at the centre of the image, float64 [rows, columns] of sum 1; `std` in sides of the image."""
    axes = [(torch.arange(n, dtype=torch.float64) + 0.5) / n - 0.5 for n in grid]
    rows, columns = (torch.exp(-0.5 * (axis / std) ** 2) for axis in axes)
    weights = rows[:, None] * columns
    return weights / weights.sum()


def union(picture: Picture) -> Tensor:
    """All masks of a picture that has some, bool [S, S]."""
    return torch.stack(list(picture.masks.values())).any(dim=0)


def crops_with_centre(scale: tuple[float, float], draws: int = CROPS, side: int = 224) -> float:
    """Share of random resized crops of a square image that hold its centre, from a fixed seed."""
    seed_host(0)
    crop = RandomCrop(side, scale)
    held = 0
    for _ in range(draws):
        window = crop.draw(side, side)
        held += (window.top <= side / 2 <= window.top + window.height
                 and window.left <= side / 2 <= window.left + window.width)  # fmt: skip
    return held / draws
