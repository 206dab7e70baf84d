"""MoCo v3: two views of an image find each other among a batch (Chen et al., ICCV 2021; facebookresearch/moco-v3).

    q_a = predictor(projector(f(x_a))),  k_b = sg(projector'(f'(x_b))),  ' an exponential moving average
    L = ctr(q_1, k_2) + ctr(q_2, k_1),   ctr(q, k) = 2 tau * CE(cos(q, k) / tau, own image)

The negatives are the keys of all other images of the global batch; there is no queue. What made it stable with a ViT:
the patch projection stays at its random start.

The published code moves the average towards the student between the queries and the keys of an iteration, with
m(i / n) in iteration i of n. Here it moves after each optimizer step, with m((i + 1) / n): the same student, the same
momentum and therefore the same keys, since its first update finds equal weights and the last one here has m = 1.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank
from mmengine.registry import MODELS
from timm.models import VisionTransformer
from torch import Tensor, nn

from engine.errors import UserError
from pretrain.base import PretrainMethod
from pretrain.parts.ema import EmaTeacher
from pretrain.parts.heads import mlp
from pretrain.parts.losses import gather
from pretrain.parts.visible_tokens import fix_positions


@MODELS.register_module()
class MoCoV3(PretrainMethod):
    """Momentum contrast of two views, image_1 and image_2, both [B, 3, S, S].

    Args:
        encoder: see PretrainMethod; a plain ViT.
        temperature: tau.
        hidden, dim: widths of the projector (encoder, hidden, hidden, dim) and the predictor (dim, hidden, dim).
        momentum: (start, end) of the teacher's EMA, half a cosine.
    """

    needs = frozenset({"image_1", "image_2"})

    def __init__(
        self,
        encoder: dict[str, Any],
        temperature: float = 0.2,
        hidden: int = 4096,
        dim: int = 256,
        momentum: tuple[float, float] = (0.99, 1.0),
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(encoder, data_preprocessor)
        if type(self.encoder) is not VisionTransformer:  # subclasses may embed patches in a way of their own
            raise UserError(
                f"encoder {self.encoder_cfg['name']!r} has no patch projection and positions to keep fixed, as MoCo v3 "
                "does: choose a plain ViT of timm's, such as vit_small_patch16_224 or vit_base_patch16_224"
            )
        self.temperature = temperature
        self.reset_encoder()
        self.projector = mlp([self.encoder.embed_dim, hidden, hidden, dim], last_norm=True)
        self.predictor = mlp([dim, hidden, dim], last_norm=True)
        self.teacher = EmaTeacher(self.encoder, momentum, curve="cosine", batch_norm="own")
        self.projector_teacher = EmaTeacher(self.projector, momentum, curve="cosine", batch_norm="own")

    @torch.no_grad()
    def reset_encoder(self) -> None:
        """The published start: Xavier-uniform matrices, fixed positions, and a patch projection that never learns."""
        encoder = self.encoder
        for name, module in encoder.named_modules():
            if isinstance(module, nn.Linear):
                # q, k and v are matrices of their own, whose bounds are wider than those of one of three times the rows
                for matrix in module.weight.chunk(3) if name.endswith("qkv") else [module.weight]:
                    nn.init.xavier_uniform_(matrix)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if encoder.cls_token is not None:
            nn.init.normal_(encoder.cls_token, std=1e-6)
        projection = encoder.patch_embed.proj
        nn.init.xavier_uniform_(projection.weight.view(len(projection.weight), -1))
        if projection.bias is not None:
            nn.init.zeros_(projection.bias)
        projection.requires_grad_(False)
        fix_positions(encoder, first="row")

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """image_1 and image_2 [B, 3, S, S] -> the loss of either direction."""
        # The encoder has no BatchNorm, so both views share a pass; the heads take each view's own statistics.
        images = torch.cat([inputs["image_1"], inputs["image_2"]])  # [2B, 3, S, S]
        query_1, query_2 = (self.predictor(self.projector(view)) for view in self.encoder(images).chunk(2))  # [B, C]
        with torch.no_grad():
            features = self.teacher.module(images)  # [2B, D]
            keys = [self.projector_teacher.module(view) for view in features.chunk(2)]
            key_1, key_2 = gather(torch.cat(keys, dim=1)).chunk(2, dim=1)  # one exchange; [world * B, C] each
        return {"loss_1_to_2": self.contrast(query_1, key_2), "loss_2_to_1": self.contrast(query_2, key_1)}

    def contrast(self, query: Tensor, key: Tensor) -> Tensor:
        """ctr of this process's queries [B, C] and all processes' keys [world * B, C]; a scalar.

        The mean over processes is the loss of the global batch.
        """
        with torch.autocast(query.device.type, enabled=False):  # float32 also under bf16 autocast
            query, key = F.normalize(query.float(), dim=-1), F.normalize(key.float(), dim=-1)
            own = torch.arange(len(query), device=query.device) + get_rank() * len(query)
            return 2 * self.temperature * F.cross_entropy(query @ key.T / self.temperature, own)

    def after_step(self, progress: float) -> None:
        """Move the teacher."""
        self.teacher.update(self.encoder, progress)
        self.projector_teacher.update(self.projector, progress)
