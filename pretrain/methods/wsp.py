"""WSP: weakly supervised classification of an image's tags, after MAE (MAWS: Singh et al. 2023; facebookresearch/maws).

The second of two stages: the encoder starts from one that MAE trained on the same kind of data, through the key ledger.
The labels are the words or hashtags that came with the image. An image with K tags has the target 1/K on each of them
and 0 elsewhere; the loss is the cross-entropy of the softmax over all tags. Without a parent it trains from scratch.
"""

from typing import Any

import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.registry import MODELS
from torch import Tensor, nn

from pretrain.base import PretrainMethod


@MODELS.register_module()
class WSP(PretrainMethod):
    """Multi-label classification against the normalised multi-hot target.

    Args:
        encoder: see PretrainMethod; "start" in it is filled with the run's parent.
        num_classes: number of tags; None is filled from the data.
    """

    needs = frozenset({"image", "tags"})

    def __init__(self, encoder: dict[str, Any], num_classes: int | None, data_preprocessor: dict | None = None) -> None:
        super().__init__(encoder, data_preprocessor)
        self.head = nn.Linear(self.encoder.num_features, num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Image [B, 3, H, W] and tags [B, K], ids padded with -1 -> the mean over the images that have tags."""
        tags = inputs["tags"]
        present = tags >= 0  # [B, K]
        scores = self.head(self.encoder(inputs["image"])).float()  # [B, C]
        picked = F.log_softmax(scores, dim=1).gather(1, tags.clamp(min=0))  # [B, K]
        count = present.sum(dim=1)  # [B]
        each = -(picked * present).sum(dim=1) / count.clamp(min=1)  # [B], 0 without tags
        # Processes may hold different numbers of tagged images: every image weighs the same in the global batch.
        tagged = (count > 0).sum().float()
        all_reduce(tagged, "mean")  # in place
        return {"loss_tags": each.sum() / tagged.clamp(min=1e-6)}  # 0 where no image has any
