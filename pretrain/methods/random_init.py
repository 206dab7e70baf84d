"""The floor: an encoder as it is before any training."""

from mmengine.registry import MODELS
from torch import Tensor

from engine.errors import UserError
from pretrain.base import PretrainMethod


@MODELS.register_module()
class RandomInit(PretrainMethod):
    """Writes a freshly initialised encoder; its config runs zero iterations."""

    def losses(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """There is nothing to train."""
        raise UserError("random initialisation is not trained: leave train_cfg.max_iters at 0")
