"""LightCLIP: CLIP for light encoders, with softened labels, token matching and masked words (Nie et al. 2023).

L = 0.8 L_inst + 0.1 L_token + 0.1 L_MLM (eq. 1).

* L_inst: CLIP's two directions, halved, against labels that soften in thirds of training: one-hot, then alpha = 0.2
  spread evenly over the negatives, then by the negatives' importance (`lightclip_softening.py`).
* L_token: the last stage's image tokens and the caption's tokens (no padding) of the same pair, projected to one space,
  are matched one to one by the Hungarian algorithm on their cosines S (`lightclip_matching.py`). The loss is the mean
  cost 1 - S of the matched entries; matching -S would give the same matches and gradients. There are no negatives
  ("relaxed"), so L_inst must keep the tokens apart.
* L_MLM: 15 % of the words are chosen, of which 80 % become [MASK], 10 % a random token and 10 % stay. The masked
  caption goes through the text tower twice: by itself, and with the image's stages 2 and 3 added to the text's. Both
  name the chosen words by the same classifier; L_MLM is the mean of the two losses.

Both towers have four stages. Matching, masked words and fusion are needed in training only: the checkpoint is CLIP's.
The paper's formulas are partly illegible where they were read; what had to be settled here is an argument below.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from backbones import describe_encoder
from backbones.text import TextTower, valid_tokens, word_tokens
from engine.errors import UserError
from pretrain.base import ImageTextMethod
from pretrain.methods.lightclip_matching import match, matched
from pretrain.methods.lightclip_softening import softened_losses, softening_at
from pretrain.parts.masking import take
from pretrain.parts.mlm import choose_words, corrupt_words, word_loss


class StageFeatures(NamedTuple):
    """What one pass of the encoder gives.

    second, third: [B, C, h, w], the maps of stages 2 and 3; tokens: [B, N, D], the encoder's final map, normed where it
    has a norm, cell by cell; pooled: [B, D], the embedding that the encoder makes of its final map.
    """

    second: Tensor
    third: Tensor
    tokens: Tensor
    pooled: Tensor


def middle_stages(encoder: nn.Module, name: str) -> tuple[int, int]:
    """timm's indices of the ends of stages 2 and 3; a plain ViT's stages are the quarters of its blocks."""
    facts = describe_encoder(encoder)
    if facts.depth < 4:
        kind = "blocks" if facts.plain else "stages"
        raise UserError(f"encoder {name!r} has {facts.depth} {kind}, LightCLIP needs four or more: choose a deeper one")
    return (facts.depth // 2 - 1, facts.depth * 3 // 4 - 1) if facts.plain else (facts.depth - 3, facts.depth - 2)


def encode_stages(encoder: nn.Module, images: Tensor, stages: tuple[int, int]) -> StageFeatures:
    """Images [B, 3, H, W] -> the maps, tokens and pooled embedding of one pass."""
    final, (second, third) = encoder.forward_intermediates(images, indices=list(stages))
    if final.ndim == 3:  # a ViT's tokens, class token and registers first
        tokens = final[:, encoder.num_prefix_tokens :]
    elif getattr(encoder, "output_fmt", "NCHW") == "NHWC":  # Swin
        tokens = final.flatten(1, 2)
    else:
        tokens = final.flatten(2).transpose(1, 2)  # [B, D, h, w] -> [B, h * w, D]
    return StageFeatures(second, third, tokens, encoder.forward_head(final))


class StageFusion(nn.Module):
    """An image stage's map in the shape of the text, to be added to a text stage (eq. 15).

    A 1 x 1 convolution takes the map's channels to the text's width; then "tokens" takes the map's cells to the text's
    positions by one linear layer, and "pool" gives the mean cell to every position.

    Args:
        channels, cells: of the map; width, context: of the text; kind: as said.
    """

    def __init__(self, channels: int, cells: int, width: int, context: int, kind: Literal["tokens", "pool"]) -> None:
        super().__init__()
        self.channels = nn.Conv2d(channels, width, 1)
        self.cells = nn.Linear(cells, context) if kind == "tokens" else None
        for layer in (self.channels, self.cells):
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.02)  # so that the sum starts near the size of token embeddings
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor, length: int) -> Tensor:
        """Map [B, C, h, w] and a text of `length` positions -> [B, length, width], or [B, 1, width] if pooled."""
        cells = self.channels(image).flatten(2)  # [B, width, h * w]
        if self.cells is None:
            return cells.mean(dim=2).unsqueeze(1)
        if cells.shape[2] != self.cells.in_features:
            raise UserError(
                f"an image stage has {cells.shape[2]} cells where model.image_size leads to {self.cells.in_features}: "
                "set model.image_size to train_dataloader.dataset.size"
            )
        return F.linear(cells, self.cells.weight[:length], self.cells.bias[:length]).transpose(1, 2)


class FusedMaskedLanguageModel(nn.Module):
    """Masked words from the text alone and from the text with the image.

    Args:
        tower: the text tower, for its sizes; it is passed again to `forward` and not held here.
        shapes: (channels, cells) of the image's stages 2 and 3.
        ratio: share of words to predict.
        corruption: shares of chosen words that become [MASK], a random token, or stay.
        causal: whether the masked caption is read causally. Not stated; full attention by default, since a word has to
            be named from both sides.
        fusion: see StageFusion; the paper says "convolution" and the two shapes.
    """

    def __init__(
        self,
        tower: TextTower,
        shapes: list[tuple[int, int]],
        ratio: float = 0.15,
        corruption: tuple[float, float, float] = (0.8, 0.1, 0.1),
        causal: bool = False,
        fusion: Literal["tokens", "pool"] = "tokens",
    ) -> None:
        super().__init__()
        self.ratio, self.corruption, self.causal = ratio, tuple(corruption), causal
        self.quarter = len(tower.blocks) // 4
        self.fusions = nn.ModuleList(StageFusion(*shape, tower.width, tower.context, fusion) for shape in shapes)
        self.classifier = nn.Linear(tower.width, tower.size)
        nn.init.normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, tower: TextTower, tokens: Tensor, second: Tensor, third: Tensor) -> Tensor:
        """CLIP ids [B, T] and the maps of image stages 2 and 3, [B, C, h, w] -> (L_text + L_fuse) / 2."""
        ids = tower.own_ids(tokens)
        chosen = choose_words(word_tokens(tokens), self.ratio)
        masked = corrupt_words(ids, chosen, tower.mask_id, self.corruption)
        alone, fused = self.read(tower, masked, valid_tokens(tokens), second, third)
        scores_alone, scores_fused = self.classifier(
            torch.cat([take(alone, chosen.index), take(fused, chosen.index)])
        ).chunk(2)
        return (word_loss(scores_alone, ids, chosen) + word_loss(scores_fused, ids, chosen)) / 2

    def read(
        self, tower: TextTower, ids: Tensor, valid: Tensor, second: Tensor, third: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Masked ids [B, T] -> final features [B, T, W] without and with the image.

        Stages 1 and 2 are the same for both; from there they run side by side as one batch.
        """
        length, stage = ids.shape[1], self.quarter
        x = tower.run_blocks(tower.embed(ids), 0, 2 * stage, self.causal, valid)
        x = torch.cat([x, x + self.fusions[0](second, length)])  # [2B, T, W]
        valid = valid.repeat(2, 1)
        alone, fused = tower.run_blocks(x, 2 * stage, 3 * stage, self.causal, valid).chunk(2)
        x = torch.cat([alone, fused + self.fusions[1](third, length)])
        x = tower.ln_final(tower.run_blocks(x, 3 * stage, None, self.causal, valid))
        return x.chunk(2)


@MODELS.register_module()
class LightCLIP(ImageTextMethod):
    """CLIP with softened labels, relaxed token matching and masked language modelling with the image.

    Args:
        encoder: see PretrainMethod; any timm encoder of four or more stages, or a plain ViT of four or more blocks.
        text: arguments of TextTower; its layers are a multiple of 4 (8 in the paper).
        image_size: side of the images in pixels, on which the fusion's shapes depend.
        instance_weight, token_weight, mlm_weight: of the three terms; 0 leaves the second or third out.
        alpha: mass of the softened labels on the negatives.
        switches: shares of training at which labels become uniform and importance-aware.
        token_projection: "own" linear layers take both token sets to the shared width; "shared" takes the two that
            project the pooled embeddings. Not stated.
        pairs: "mean" or "sum" over the matches of a pair. Not stated; the mean does not grow with the resolution.
        mlm: arguments of FusedMaskedLanguageModel (ratio, corruption, causal, fusion).
    """

    def __init__(
        self,
        encoder: dict[str, Any],
        text: dict[str, Any],
        image_size: int,
        instance_weight: float = 0.8,
        token_weight: float = 0.1,
        mlm_weight: float = 0.1,
        alpha: float = 0.2,
        switches: tuple[float, float] = (0.33, 0.66),
        token_projection: Literal["own", "shared"] = "own",
        pairs: Literal["mean", "sum"] = "mean",
        mlm: dict[str, Any] | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, text, data_preprocessor)
        self.instance_weight, self.token_weight, self.mlm_weight = instance_weight, token_weight, mlm_weight
        self.alpha, self.switches, self.pairs = alpha, tuple(switches), pairs
        self.stages = middle_stages(self.encoder, self.encoder_cfg["name"])
        if len(self.text.blocks) % 4:
            raise UserError(
                f"LightCLIP's text tower has four stages: model.text.layers={len(self.text.blocks)} is no multiple of 4"
            )

        self.image_tokens = self.text_tokens = None
        if token_weight and token_projection == "own":
            width = self.encoder.num_features
            self.image_tokens = nn.Linear(width, self.text.embed_dim, bias=False)
            self.text_tokens = nn.Linear(self.text.width, self.text.embed_dim, bias=False)
            nn.init.normal_(self.image_tokens.weight, std=width**-0.5)
            nn.init.normal_(self.text_tokens.weight, std=self.text.width**-0.5)
        if mlm_weight:
            self.mlm = FusedMaskedLanguageModel(self.text, self.stage_shapes(image_size), **(mlm or {}))

    def stage_shapes(self, image_size: int) -> list[tuple[int, int]]:
        """(channels, cells) of the maps of stages 2 and 3, for square images of `image_size` pixels."""
        facts = describe_encoder(self.encoder)
        return [(facts.channels[i], math.ceil(image_size / facts.strides[i]) ** 2) for i in self.stages]

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W] and tokens [B, T] -> the weighted terms."""
        tokens = inputs["tokens"]
        stages = encode_stages(self.encoder, inputs["image"], self.stages)
        words = self.text.token_features(self.text.own_ids(tokens))  # [B, T, W]
        image, text = self.image_projection(stages.pooled), self.text.pool(words, tokens)  # [B, E] each
        kind = softening_at(self.progress, self.switches)
        loss_image, loss_text = softened_losses(image, text, self.logit_scale, kind, self.alpha)
        half = self.instance_weight / 2
        losses = {"loss_image": half * loss_image, "loss_text": half * loss_text}
        if self.mlm_weight:
            losses["loss_mlm"] = self.mlm_weight * self.mlm(self.text, tokens, stages.second, stages.third)
        if self.token_weight:
            losses["loss_token"] = self.token_weight * self.token_loss(stages.tokens, words, valid_tokens(tokens))
        return {**losses, "logit_scale": self.logit_scale.detach().exp()}

    def token_loss(self, image: Tensor, text: Tensor, valid: Tensor) -> Tensor:
        """Tokens of the image [B, N, D], and of the text [B, T, W] where `valid` [B, T] -> scalar (eqs. 10 to 13)."""
        image = (self.image_tokens or self.image_projection)(image)
        text = (self.text_tokens or self.text.projection)(text)
        with torch.autocast(image.device.type, enabled=False):
            image = F.normalize(image.float(), dim=-1)
            text = F.normalize(text.float(), dim=-1)
            cost = 1 - image @ text.transpose(1, 2)  # [B, N, T]
            matching = match(cost, valid)
            found = matched(cost, matching)  # [B, K]
            if self.pairs == "sum":
                return (found * (matching.weight > 0)).sum(dim=1).mean()
            return (found * matching.weight).sum(dim=1).mean()
