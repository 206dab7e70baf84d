"""One step of a method twice: by the suite, and by a library with the same weights on the same batch."""

import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from torch import Tensor, nn

from backbones import save_checkpoint
from backbones.convert.to_open_clip import to_open_clip
from benchmarks.maskclip_cost import web_captions
from pretrain.data.dataset import pretrain_collate
from pretrain.methods.clip import CLIP
from pretrain.methods.dino import DINO
from pretrain.methods.mae import MAE
from pretrain.parts.masking import RandomMask, random_mask

NOTHING = dict(wall_s=None, samples_per_s=None, peak_memory_mib=None, hardware=None)


@dataclass(frozen=True)
class Twins:
    """A step is forward, backward and, where there is one, the teacher's update; it returns the loss.

    Attributes:
        peer: the library.
        ours, theirs: a step each; from equal weights and under one seed their losses are equal.
    """

    peer: str
    ours: Callable[[], Tensor]
    theirs: Callable[[], Tensor]


def stepped(model: nn.Module, loss: Tensor) -> Tensor:
    """Backward, gradients dropped; the loss."""
    loss.backward()
    model.zero_grad()
    return loss.detach()


def mae(encoder: dict, size: int, batch: int) -> Twins:
    """MAE as lightly's example puts it together, with the published normalised target."""
    from lightly.models import utils
    from lightly.models.modules import MaskedVisionTransformerTIMM
    from lightly.models.modules.masked_autoencoder_timm import MAEDecoderTIMM

    model, images = MAE(encoder), torch.randn(batch, 3, size, size)
    patch, grid = model.patch, model.encoder.patch_embed.num_patches
    peer = nn.ModuleDict()
    peer["encoder"] = MaskedVisionTransformerTIMM(deepcopy(model.encoder), weight_initialization="skip",
                                                  pos_embed_initialization="skip")  # fmt: skip
    width, depth = model.decoder_embed.out_features, len(model.decoder_blocks)
    decoder = MAEDecoderTIMM(grid, patch, embed_dim=model.encoder.embed_dim, decoder_embed_dim=width,
                             decoder_depth=depth, decoder_num_heads=model.decoder_blocks[0].attn.num_heads)  # fmt: skip
    own = {key: value for key, value in model.state_dict().items() if key.startswith(("decoder_", "mask_token"))}
    places = torch.cat([torch.zeros(1, 1, width), model.decoder_positions], dim=1)
    decoder.load_state_dict({**own, "decoder_pos_embed": places})
    peer["decoder"] = decoder

    def theirs() -> Tensor:
        mask: RandomMask = random_mask(batch, grid, model.mask_ratio, images.device)  # of both, so that losses agree
        keep = torch.cat([torch.zeros(batch, 1, dtype=torch.long), mask.keep + 1], dim=1)
        hidden = mask.hidden + 1
        encoded = peer["encoder"].encode(images=images, idx_keep=keep)
        tokens = utils.repeat_token(decoder.mask_token, (batch, grid + 1))
        tokens = utils.set_at_index(tokens, keep, decoder.embed(encoded).type_as(tokens))
        prediction = decoder.predict(utils.get_at_index(decoder.decode(tokens), hidden))
        target = utils.get_at_index(utils.patchify(images, patch), hidden - 1)
        return stepped(peer, nn.functional.mse_loss(prediction, utils.normalize_mean_var(target)))

    return Twins("lightly", lambda: stepped(model, model.losses({"image": images})["loss_pixel"]), theirs)


def dino(encoder: dict, size: int, batch: int, codes: int, local: int = 4) -> Twins:
    """DINO as lightly's example puts it together: a pass for each view."""
    from lightly.loss import DINOLoss
    from lightly.models.modules.heads import DINOProjectionHead
    from lightly.models.utils import update_momentum

    model = DINO(encoder, {"codes": codes}, teacher_temperature=(0.04, 0.04))
    views = [torch.randn(batch, 3, size, size) for _ in range(2)]
    views += [torch.randn(batch, 3, size // 2, size // 2) for _ in range(local)]
    inputs = {"image_1": views[0], "image_2": views[1], "image_local": torch.stack(views[2:], dim=1)}
    student, teacher = (
        nn.Sequential(deepcopy(model.encoder), DINOProjectionHead(model.encoder.num_features, 2048, 256, codes))
        for _ in range(2)
    )
    layers = [layer for layer in student[1].layers if isinstance(layer, nn.Linear)]
    for layer, own in zip(layers, model.head.mlp[::2], strict=True):
        layer.load_state_dict(own.state_dict())
    student[1].last_layer.weight_v.data.copy_(model.head.prototypes.data)
    teacher.load_state_dict(student.state_dict())
    teacher.requires_grad_(False)
    criterion = DINOLoss(codes)

    def ours() -> Tensor:
        loss = stepped(model, model.losses(inputs)["loss_code"])
        model.after_step(0.5)
        return loss

    def theirs() -> Tensor:
        update_momentum(student, teacher, 0.998)
        with torch.no_grad():
            targets = [teacher(view) for view in views[:2]]
        return stepped(student, criterion(targets, [student(view) for view in views], teacher_temp=0.04))

    return Twins("lightly", ours, theirs)


def clip(encoder: dict, size: int, batch: int, words: int) -> Twins:
    """CLIP by open_clip from the suite's own export; captions of web lengths, which open_clip pads to its context."""
    text = dict(embed_dim=512, vocabulary="clip", context=77, width=512, layers=12, heads=8, eps=1e-5)
    model, images = CLIP(encoder, text), torch.randn(batch, 3, size, size)
    rows = nn.functional.pad(captions := web_captions(batch, words, 77), (0, 77 - captions.shape[1]))
    batch_of_ours = {**pretrain_collate([dict(tokens=row) for row in rows], packed=True)["inputs"], "image": images}
    meta = dict(
        method="clip", captions="noisy", seed=0, scale="paper", data=dict(name="none", samples=0), samples_seen=0,
        updates=0, config_hash="0" * 8, code_version="none", parent=None, ledger=None, cost=NOTHING,
        **{**model.checkpoint_meta(), "image": dict(mean=[0.5] * 3, std=[0.5] * 3, size=size)},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "own", model.encoder, meta, model.text_state())
        to_open_clip(Path(folder) / "own", Path(folder) / "out")
        peer = open_clip.create_model(f"local-dir:{folder}/out").train()
    criterion = open_clip.ClipLoss()

    def ours() -> Tensor:
        losses = model.losses(batch_of_ours)
        return stepped(model, losses["loss_image"] + losses["loss_text"])

    def theirs() -> Tensor:
        return stepped(peer, criterion(*peer(images, rows)))

    return Twins("open_clip", ours, theirs)
