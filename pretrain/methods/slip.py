"""SLIP: CLIP and SimCLR in one encoder (Mu et al., ECCV 2022).

L = L_CLIP + 1.0 L_SimCLR

* L_CLIP: one mildly cropped view of the image with its caption, exactly as in `clip.py`.
* L_SimCLR: two strongly augmented views of the same image, `image_1` and `image_2`, go through the same encoder and a
  projector of three layers, and must find each other among both views of all images of the global batch.

Three image passes a step make it about 2.5 times as dear as CLIP.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank
from mmengine.registry import MODELS
from torch import Tensor

from pretrain.methods.clip import CLIP
from pretrain.parts.heads import mlp
from pretrain.parts.losses import gather


@MODELS.register_module()
class SLIP(CLIP):
    """CLIP + SimCLR.

    Args:
        encoder, text: see ImageTextMethod.
        simclr_weight: 1.0.
        projector: (hidden, out), widths of the projector's two hidden layers and of its output: 4096 and 256. Its
            BatchNorms see the batch of all processes, each view by itself.
        temperature: of the similarities between views.
    """

    needs = frozenset({"image", "image_1", "image_2", "tokens"})

    def __init__(
        self,
        encoder: dict[str, Any],
        text: dict[str, Any],
        simclr_weight: float = 1.0,
        projector: tuple[int, int] = (4096, 256),
        temperature: float = 0.1,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, text, data_preprocessor)
        self.simclr_weight, self.temperature = simclr_weight, temperature
        hidden, out = projector
        self.projector = mlp([self.encoder.num_features, hidden, hidden, out], bias=True)

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """image, image_1, image_2 [B, 3, H, W] and tokens [B, T] -> CLIP's two terms and SimCLR's."""
        one = self.projector(self.encoder(inputs["image_1"]))  # [B, out]
        two = self.projector(self.encoder(inputs["image_2"]))
        return {**super().losses(inputs), "loss_simclr": self.simclr_weight * nt_xent(one, two, self.temperature)}


def nt_xent(one: Tensor, two: Tensor, temperature: float) -> Tensor:
    """SimCLR's loss of two views: each embedding finds its partner among the 2N - 1 others of the global batch of N.

    L = mean over the 2N embeddings z of -log exp(<z, partner> / t) / sum over z' != z of exp(<z, z'> / t), with cosine
    similarities (Chen et al. 2020, eq. 1). Each process scores its own rows; see `contrastive_losses`.

    Args:
        one, two: [B, D], not yet normalised; row i of both shows the same image.
        temperature: t.
    """
    with torch.autocast(one.device.type, enabled=False):
        one, two = F.normalize(one.float(), dim=-1), F.normalize(two.float(), dim=-1)
        all_one, all_two = gather(one), gather(two)  # [N, D]
        target = torch.arange(len(one), device=one.device) + get_rank() * len(one)
        itself = 1e9 * F.one_hot(target, len(all_one))  # taken from the similarity with itself, which is no candidate

        def find(own: Tensor, partners: Tensor, rivals: Tensor) -> Tensor:
            scores = [own @ partners.T / temperature, own @ rivals.T / temperature - itself]
            return F.cross_entropy(torch.cat(scores, dim=1), target)  # [B, 2N]

        return (find(one, all_two, all_one) + find(two, all_one, all_two)) / 2
