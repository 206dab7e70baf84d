"""Grad-CAM on image-text similarity: which places raise it (Selvaraju et al. 2017; LightCLIP's figures).

    y = <e_I, e_T>,  alpha_c = mean over places of dy / dU_c,  map = ReLU(sum_c alpha_c U_c)

U [C, h, w] is the last stage's map of a hierarchical encoder. Of a plain ViT it is what the last block's attention
reads, its normalised patch tokens: the pooled class token does not depend on the patch tokens after that block.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from analysis.attention import patch_grid
from analysis.finding import Finding, Scalar, identity, name_of
from analysis.localisation import ask, draw, prompts, scalars_of
from analysis.pictures import load_pictures
from backbones.facts import has_token_blocks
from backbones.towers import Towers

BATCH = 32


def run(
    checkpoint: str, images: str, masks: str | None = None, count: int = 64, prompt: str = "a photo of a {}"
) -> Finding:
    """Score a checkpoint with a text tower on the first `count` images of a folder with masks.

    Raises:
        UserError: images or a checkpoint that cannot be used, no text tower, no masks, or a prompt without {}.
    """
    towers = Towers(checkpoint)
    pictures = load_pictures(images, count, towers.size, masks)
    questions = ask(pictures)
    texts = towers.embed_texts(prompts(questions, prompt))  # [Q, E]
    maps = []
    for numbers in tqdm(torch.arange(len(questions)).split(BATCH), desc="Grad-CAM", disable=None):
        pixels = torch.stack([pictures[questions[k][0]].pixels for k in numbers])
        inputs = towers.model.preprocessor.normalise(pixels.to(towers.device))
        text = texts[numbers].to(towers.device)
        maps.append(grad_cam(towers.model.encoder, towers.model.projection, inputs, text).cpu())
    maps = torch.cat(maps)  # [Q, h, w]
    title = f"Grad-CAM of the similarity to the text: {name_of(towers.meta)}"
    scalars = scalars_of(maps, pictures, questions)
    empty = (maps == 0).all(dim=(1, 2)).float().mean()
    scalars["empty"] = Scalar(100 * float(empty), "%", "maps that are zero everywhere")
    return Finding(
        title=title,
        checkpoints=[identity(towers.meta)],
        settings={"images": len(pictures), "questions": len(questions), "size": towers.size, "prompt": prompt,
                  "grid": list(maps.shape[1:])},
        scalars=scalars,
        values={"mean": float(maps.mean()), "highest": float(maps.max())},
        figure=draw(title, maps, pictures, questions),
        words=f"Maps of what raises the similarity to “{prompt}”, dark low and yellow high. They peak within the mask "
        f"for {scalars['pointing_game'].value:.1f} % of {len(questions)} questions; a random point would for "
        f"{scalars['mask_share'].value:.1f} %.",
    )  # fmt: skip


def grad_cam(encoder: nn.Module, projection: nn.Module, images: Tensor, texts: Tensor) -> Tensor:
    """Normalised images [B, 3, H, W] and unit embeddings of their texts [B, E] -> maps [B, h, w], not negative."""
    images = images.detach().requires_grad_(True)  # frozen weights ask for no gradient, the graph starts here
    seen, pooled, to_map = activations(encoder, images)
    similarity = (F.normalize(projection(pooled), dim=-1) * texts).sum()  # images do not touch each other
    (gradient,) = torch.autograd.grad(similarity, seen)
    values, slopes = to_map(seen.detach()), to_map(gradient)  # [B, C, h, w]
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    return (weights * values).sum(dim=1).relu()


def activations(encoder: nn.Module, images: Tensor) -> tuple:
    """(U as it is in the graph, pooled features [B, D], the function that brings U to [B, C, h, w])."""
    if not has_token_blocks(encoder):
        seen = encoder.forward_features(images)
        last = getattr(encoder, "output_fmt", "NCHW") == "NHWC"
        return seen, encoder.forward_head(seen, pre_logits=True), lambda x: x.permute(0, 3, 1, 2) if last else x
    kept = []
    handle = encoder.blocks[-1].norm1.register_forward_hook(lambda module, inputs, output: kept.append(output))
    try:
        pooled = encoder(images)
    finally:
        handle.remove()
    grid = patch_grid(encoder, images.shape[-2:])
    return kept[0], pooled, lambda x: x[:, encoder.num_prefix_tokens :].mT.unflatten(2, grid)
