"""DeCLIP: every supervision that an image-text pair contains (Li et al., ICLR 2022).

L = 0.4 L_pairs + 0.2 L_SimSiam + 0.2 L_MLM + 0.2 L_NN, of two views v1, v2 of the image, the caption t, and t', one
edit of it (`data/eda.py`). Weights and forms are those of the public code (Sense-GVT/DeCLIP), where the paper's CLIP
and multi-view terms are one.

* L_pairs: CLIP's symmetric loss, mean over (v1, t), (v2, t), (v1, t'), (v2, t').
* L_SimSiam: a predictor maps each view's projection to the other's, which gets no gradient.
* L_MLM: BERT's masked words of t, named from the text tower's features by one linear layer. The public code reads t's
  embedding from that masked pass; here it is the full caption's, which is what zero-shot prompts are.
* L_NN: t and t' are replaced by their nearest neighbour in a bank of earlier captions' features, which both views must
  then pick among the neighbours of all captions of the global batch: one more, similar, description of the image.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank
from mmengine.registry import MODELS
from torch import Tensor, nn

from engine.errors import UserError
from pretrain.methods.clip import CLIP
from pretrain.parts.heads import mlp
from pretrain.parts.losses import contrastive_losses, gather
from pretrain.parts.mlm import MaskedLanguageModel

BERT = {"ratio": 0.15, "depth": 0, "corruption": (0.8, 0.1, 0.1)}


@MODELS.register_module()
class DeCLIP(CLIP):
    """CLIP over views and edits + SimSiam + masked language modelling + nearest-neighbour supervision.

    Args:
        encoder, text: see ImageTextMethod.
        pair_weight, simsiam_weight, mlm_weight, neighbour_weight: 0.4 and 0.2 each; 0 leaves one of the last three out.
        projector: width of SimSiam's three layers on the projected image embedding, a BatchNorm after each.
        bottleneck: width of the predictor's hidden layer.
        mlm: arguments of MaskedLanguageModel that differ from BERT's (15 % of the words; 80 % of them become [MASK],
            10 % a random token; no decoder).
        bank: captions' features that the bank holds. All BatchNorms and the bank see all processes.
    """

    needs = frozenset({"image_1", "image_2", "tokens", "tokens_edited"})

    def __init__(
        self,
        encoder: dict[str, Any],
        text: dict[str, Any],
        pair_weight: float = 0.4,
        simsiam_weight: float = 0.2,
        mlm_weight: float = 0.2,
        neighbour_weight: float = 0.2,
        projector: int = 1024,
        bottleneck: int = 512,
        mlm: dict[str, Any] | None = None,
        bank: int = 65536,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, text, data_preprocessor)
        self.pair_weight, self.simsiam_weight = pair_weight, simsiam_weight
        self.mlm_weight, self.neighbour_weight = mlm_weight, neighbour_weight
        embed_dim = self.text.embed_dim
        if simsiam_weight:
            self.projector = mlp([embed_dim, *3 * [projector]], last_norm=True, last_affine=True)
            self.predictor = mlp([projector, bottleneck, projector], bias=True)
        if mlm_weight:
            self.mlm = MaskedLanguageModel(self.text, **{**BERT, **(mlm or {})})
        if neighbour_weight:
            self.bank = TextBank(bank, embed_dim)

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """image_1, image_2 [B, 3, H, W], tokens [B, T] and tokens_edited [B, T'] -> the weighted terms."""
        views = [self.image_projection(self.encoder(inputs[name])) for name in ("image_1", "image_2")]  # [B, E] each
        losses = {"logit_scale": self.logit_scale.detach().exp()}
        valid = inputs.get("valid_tokens")
        if self.mlm_weight:
            caption, loss_mlm = self.mlm(self.text, inputs["tokens"], valid)  # [B, E]
            losses["loss_mlm"] = self.mlm_weight * loss_mlm
        else:
            caption = self.text(inputs["tokens"], valid)
        edited = self.text(inputs["tokens_edited"], inputs.get("valid_tokens_edited"))  # [B, E]

        pairs = [contrastive_losses(view, text, self.logit_scale) for view in views for text in (caption, edited)]
        losses["loss_pairs"] = self.pair_weight * sum((image + text) / 2 for image, text in pairs) / len(pairs)
        if self.simsiam_weight:
            losses["loss_simsiam"] = self.simsiam_weight * self.simsiam(*views)
        if self.neighbour_weight:
            neighbours = [self.bank.nearest(text) for text in (caption, edited)]
            self.bank.add(torch.cat([gather(edited.detach()), gather(caption.detach())]))  # after both look-ups
            found = [pick_loss(view, near, self.logit_scale) for view in views for near in neighbours]
            losses["loss_neighbour"] = self.neighbour_weight * sum(found) / len(found)
        return losses

    def simsiam(self, one: Tensor, two: Tensor) -> Tensor:
        """Embeddings [B, E] of two views -> the negative cosine of prediction and target, mean of both directions."""
        z1, z2 = self.projector(one), self.projector(two)  # [B, projector]
        p1, p2 = self.predictor(z1), self.predictor(z2)
        towards_two = F.cosine_similarity(p1.float(), z2.detach().float())
        towards_one = F.cosine_similarity(p2.float(), z1.detach().float())
        return -(towards_two.mean() + towards_one.mean()) / 2


class TextBank(nn.Module):
    """The latest captions' features, first in, first out; random directions before there are enough.

    Args:
        size: how many; width: of a feature.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        if size < 1:
            raise UserError(f"model.bank is {size}: the bank of captions needs at least one place")
        self.register_buffer("rows", F.normalize(torch.randn(size, width), dim=-1))
        self.register_buffer("next", torch.zeros((), dtype=torch.long))  # a tensor, so that its value stays on device

    @torch.no_grad()
    def nearest(self, features: Tensor) -> Tensor:
        """Features [B, E] -> for each the row [B, E] of the highest cosine, of length 1 and without gradient."""
        with torch.autocast(features.device.type, enabled=False):
            return self.rows[(features.float() @ self.rows.T).argmax(dim=1)]

    @torch.no_grad()
    def add(self, features: Tensor) -> None:
        """Write features [n, E] over the oldest rows, the first of them first; of more than fit, the last ones."""
        size = len(self.rows)
        features = F.normalize(features[-size:].float(), dim=-1)
        places = (self.next + torch.arange(len(features), device=features.device)) % size
        self.rows[places] = features
        self.next.copy_((self.next + len(features)) % size)


def pick_loss(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    """CLIP's direction image -> text alone, for a text [B, E] of length 1 that carries no gradient; a scalar."""
    with torch.autocast(image.device.type, enabled=False):
        target = torch.arange(len(image), device=image.device) + get_rank() * len(image)
        return F.cross_entropy(logit_scale.exp() * F.normalize(image.float(), dim=-1) @ gather(text).T, target)
