"""Image-text similarity maps: which patches are like a text (Dong et al. 2023, MaskCLIP).

The last layer's places go through what the pooled feature goes through, final norm and projection, to unit length:

    s_k = <P_k, e>        e: embedding of "a photo of a {category}"

The sign is raw. CLIP is trained on the pooled feature alone, so the map can be inverted, background above object; then
its scores fall below what guessing gives. `value_path` gives the other map: the last block's attention replaced by each
place's own value (Zhou et al. 2022, whose method is called MaskCLIP too), for plain ViTs and BEiTs.
"""

import contextlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from analysis.attention import SelfAttention, fuse, grid_of, patch_grid
from analysis.finding import Finding, identity, name_of
from analysis.localisation import ask, draw, prompts, scalars_of
from analysis.pictures import load_pictures
from backbones.towers import Towers

BATCH = 32


def run(
    checkpoint: str,
    images: str,
    masks: str | None = None,
    count: int = 64,
    prompt: str = "a photo of a {}",
    value_path: bool = False,
) -> Finding:
    """Score a checkpoint with a text tower on the first `count` images of a folder with masks.

    Raises:
        UserError: images or a checkpoint that cannot be used, no text tower, no masks, a prompt without {}, or the
            value path of an encoder without blocks that attend to all patches.
    """
    towers = Towers(checkpoint)
    if value_path:
        grid_of(towers.model.encoder, towers.size, f"checkpoint {checkpoint}")
    pictures = load_pictures(images, count, towers.size, masks)
    questions = ask(pictures)
    texts = towers.embed_texts(prompts(questions, prompt))  # [Q, E]
    pixels = torch.stack([picture.pixels for picture in pictures])
    found = []
    with torch.inference_mode():
        for part in tqdm(pixels.split(BATCH), desc="similarity maps", disable=None):
            inputs = towers.model.preprocessor.normalise(part.to(towers.device))
            places = place_features(towers.model.encoder, inputs, value_path)  # [B, h, w, D]
            found.append(F.normalize(towers.model.projection(places), dim=-1).cpu())
    places = torch.cat(found)
    maps = torch.stack([places[i] @ text for (i, _), text in zip(questions, texts, strict=True)])  # [Q, h, w]
    path = " (value path)" if value_path else ""
    title = f"Similarity to the text{path}: {name_of(towers.meta)}"
    scalars = scalars_of(maps, pictures, questions)
    return Finding(
        title=title,
        checkpoints=[identity(towers.meta)],
        settings={"images": len(pictures), "questions": len(questions), "size": towers.size, "prompt": prompt,
                  "value_path": value_path, "grid": list(maps.shape[1:])},
        scalars=scalars,
        values={"mean": float(maps.mean()), "lowest": float(maps.min()), "highest": float(maps.max())},
        figure=draw(title, maps, pictures, questions),
        words=f"Maps of the similarity to “{prompt}”, dark low and yellow high. They peak within the mask for "
        f"{scalars['pointing_game'].value:.1f} % of {len(questions)} questions; a random point would for "
        f"{scalars['mask_share'].value:.1f} %.",
    )  # fmt: skip


def place_features(encoder: nn.Module, images: Tensor, value_path: bool = False) -> Tensor:
    """Normalised images [B, 3, H, W] -> features of each place [B, h, w, D], in the space of the pooled feature.

    Each place goes through the encoder's own head as an image of one place: pooling leaves it as it is, norms and
    layers that follow the pooling do to it what they do to the pooled feature.
    """
    with last_block_by_value(encoder) if value_path else contextlib.nullcontext():
        found = encoder.forward_features(images)
    if found.ndim == 3:  # tokens: prefix and patches
        grid = patch_grid(encoder, images.shape[-2:])
        places = found[:, encoder.num_prefix_tokens :].flatten(0, 1)[:, None]  # [B N, 1, C]
        places = places.expand(-1, encoder.num_prefix_tokens + 1, -1)  # whichever token the head reads is this place
    elif getattr(encoder, "output_fmt", "NCHW") == "NHWC":
        grid, places = found.shape[1:3], found.flatten(0, 2)[:, None, None]  # [B N, 1, 1, C]
    else:
        grid, places = found.shape[2:], found.permute(0, 2, 3, 1).flatten(0, 2)[:, :, None, None]  # [B N, C, 1, 1]
    return encoder.forward_head(places, pre_logits=True).unflatten(0, (len(images), *grid))


def last_block_by_value(encoder: nn.Module) -> SelfAttention:
    """A context in which every token of the last block attends to itself alone."""
    last = len(encoder.blocks) - 1
    fuse(encoder)
    return SelfAttention(lambda call, query, key, value, bias: value if call == last else None)
