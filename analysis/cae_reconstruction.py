"""Does CAE's alignment put predicted representations where the encoder's are? (Chen et al. 2022)

A CAE is pretrained to predict pixels (target "pixel"), since visual tokens cannot be looked at. Then

    all patches -> encoder -> decoder -> pixels,     the regressor left out.

The decoder has only seen the regressor's predictions. Where alignment (lambda 2) has made these like the encoder's
output, it recovers the picture from that output; without (lambda 0) it gives noise. The decoder predicts patches
normalised by their own mean and standard deviation, which are put back before anything is compared:

    PSNR    10 log10(1 / MSE) per image, colours in 0..1, mean over images
    flat    PSNR of the patches' mean brightness alone (MAE's mean is one of all colours): what a decoder that predicts
            nothing gets

Weights come from the run's `state/`, which holds the decoder; the checkpoint beside it has the encoder alone.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.registry import MODELS
from torch import Tensor

import pretrain  # noqa: F401  registers methods
from analysis.drawing import rgb, svg, table_of_pictures
from analysis.finding import Finding, Scalar, identity
from analysis.pictures import load_pictures
from backbones import load_encoder
from engine.config import read
from engine.errors import UserError
from engine.resume import newest_state
from pretrain.methods.cae import CAE
from pretrain.parts.patches import normalise_patches, patchify
from pretrain.parts.visible_tokens import embed_tokens

SHOWN = 6


def run(checkpoint: Sequence[str], images: str, count: int = 64) -> Finding:
    """Reconstruct the first `count` images of a folder by one or more CAEs that differ in lambda.

    Args:
        checkpoint: `checkpoint` folders within the runs that made them. images: folder of images.

    Raises:
        UserError: images that cannot be used; a checkpoint that is not a CAE's, that predicts tokens, or whose run has
            no state or another model's; two of one lambda or of different image sizes.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded = [load_cae(Path(folder)) for folder in checkpoint]
    weights = [model.align_weight for model, _ in loaded]
    if len(set(weights)) < len(weights):
        raise UserError(f"lambda (model.align_weight) is {weights}: name runs of different lambda")
    if len(sizes := {meta["image"]["size"] for _, meta in loaded}) > 1:
        raise UserError(f"the runs see images of {sorted(sizes)} pixels: name runs of one size")
    size = sizes.pop()
    pixels = torch.stack([picture.pixels for picture in load_pictures(images, count, size)])
    truth = pixels.double() / 255
    scalars, results, headers, shown = {}, {}, ["image"], [pixels[:SHOWN]]
    for model, _ in loaded:
        prediction, target = predict(model.to(device), pixels.to(device))
        made, flat = (to_colours(model, p, pixels).clamp(0, 1) for p in (prediction, torch.zeros_like(prediction)))
        name, patch_error = f"{model.align_weight:g}", float((prediction - target).square().mean())
        scalars |= {
            f"psnr_lambda_{name}": Scalar(float(psnr(made, truth).mean()), "dB", f"reconstruction, lambda {name}"),
            f"patch_mse_lambda_{name}": Scalar(patch_error, "", f"error of normalised patches, lambda {name}"),
        }
        results[name] = psnr(made, truth).tolist()
        headers.append(f"lambda {name}")
        shown.append((255 * made[:SHOWN]).round().to(torch.uint8))
    scalars["psnr_flat"] = Scalar(float(psnr(flat, truth).mean()), "dB", "patches' mean brightness alone")
    headers.append("mean brightness")
    shown.append((255 * flat[:SHOWN]).round().to(torch.uint8))
    title = f"CAE decoding its encoder's own output, {loaded[0][1]['scale']}"
    told = "; ".join(f"lambda {name} {scalars[f'psnr_lambda_{name}'].value:.2f} dB" for name in results)
    return Finding(
        title=title,
        checkpoints=[identity(meta) for _, meta in loaded],
        settings={"images": len(pixels), "size": size, "lambda": weights},
        scalars=scalars,
        values={"psnr": results},
        figure=svg(table_of_pictures(title, headers, [[rgb(p[i]) for p in shown] for i in range(len(shown[0]))])),
        words=f"Reconstructions without the regressor: {told}; mean brightness {scalars['psnr_flat'].value:.2f} dB.",
    )


def load_cae(folder: Path) -> tuple[CAE, dict]:
    """The whole model of the run that made a checkpoint, in evaluation mode, and the checkpoint's meta data.

    Raises:
        UserError: as `run`.
    """
    encoder, meta, _ = load_encoder(folder)
    config = folder.absolute().parent / "config.py"
    if meta["method"] != "cae" or not config.is_file():
        raise UserError(f"checkpoint {folder} ({meta['method']}) does not lie in a run of CAE: name one that does")
    wanted = read(config).model
    if wanted.get("target", "token") != "pixel":
        raise UserError(
            f"{config.parent} predicts visual tokens, which cannot be looked at: pretrain by `python tools/train.py "
            "pretrain/configs/cae.py --cfg-options model.target=pixel model.tokenizer=None`"
        )
    state = newest_state(config.parent / "state")
    if state is None:
        raise UserError(f"{config.parent} has no state, which holds the decoder: repeat the run")
    model = MODELS.build(wanted)
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"the state in {config.parent} is not of its config.py ({reason}): repeat the run") from None
    own = model.encoder.state_dict()
    if any(not torch.equal(value, own[key]) for key, value in encoder.state_dict().items()):
        raise UserError(f"the newest state in {config.parent} is not of checkpoint {folder}: repeat the run")
    return model.eval().requires_grad_(False), meta


@torch.inference_mode()
def predict(model: CAE, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Images, uint8 [B, 3, S, S] -> predicted and true normalised patches, float64 [B, N, p * p * 3] in main memory."""
    images = model.data_preprocessor.normalise(pixels)
    prefix, patches = embed_tokens(model.encoder, images)
    latent = model.encode(prefix, patches)
    places = torch.arange(patches.shape[1], device=pixels.device).expand(len(pixels), -1)
    target = normalise_patches(patchify(images, model.patch))
    return model.decode(latent, places).double().cpu(), target.double().cpu()


def to_colours(model: CAE, normalised: Tensor, pixels: Tensor) -> Tensor:
    """Normalised patches [B, N, p * p * 3] -> images [B, 3, S, S] in 0..1 and beyond, with each patch's own statistics.

    Args:
        model: whose mean and std the images were given. pixels: the images, uint8 [B, 3, S, S].
    """
    preprocessor = model.data_preprocessor
    mean, std = (torch.tensor(x, dtype=torch.float64).view(3, 1, 1) for x in (preprocessor.mean, preprocessor.std))
    own = patchify((pixels.double() / 255 - mean) / std, model.patch)
    patches = normalised * (own.var(dim=-1, keepdim=True) + 1e-6).sqrt() + own.mean(dim=-1, keepdim=True)
    return unpatchify(patches, model.patch, model.grid) * std + mean


def unpatchify(patches: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """Patches [B, h * w, p * p * 3], pixel order (row, column, channel) -> images [B, 3, h * p, w * p]."""
    x = patches.unflatten(2, (patch, patch, 3)).unflatten(1, grid)  # [B, h, w, p, p, 3]
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


def psnr(made: Tensor, truth: Tensor) -> Tensor:
    """Images in 0..1, [B, 3, S, S] each -> decibels [B]."""
    return -10 * (made - truth).square().mean(dim=(1, 2, 3)).clamp(min=1e-12).log10()
