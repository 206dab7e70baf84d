"""Parameter groups of pretraining: weight decay on matrices and kernels, none on the rest."""

from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DecayGroups:
    """Build the optimizer with two parameter groups: decayed and not decayed.

    Not decayed are biases, norms, scalars (everything with fewer than two axes) and the names in `no_decay`, matched
    against the last part of a parameter's name. Two groups, where mmengine's constructor makes one for every parameter,
    so that a fused or foreach optimizer works on whole groups.

    Args:
        optim_wrapper_cfg: config of the wrapper with its `optimizer`.
        paramwise_cfg: {"no_decay": [...]}; the names listed below unless given.
    """

    NO_DECAY = (
        "pos_embed", "cls_token", "reg_token", "mask_token", "positional_embedding", "relative_position_bias_table",
    )  # fmt: skip

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop("optimizer"))
        self.no_decay = set((paramwise_cfg or {}).get("no_decay", self.NO_DECAY))

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Return the optimizer wrapper over the parameters that require gradients."""
        decay, no_decay = [], []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                free = parameter.ndim < 2 or name.rsplit(".", 1)[-1] in self.no_decay
                (no_decay if free else decay).append(parameter)
        groups = [{"params": decay}, {"params": no_decay, "weight_decay": 0.0}]
        optimizer = OPTIMIZERS.build({**self.optimizer_cfg, "params": [group for group in groups if group["params"]]})
        return OPTIM_WRAPPERS.build({"type": "OptimWrapper", **self.wrapper_cfg, "optimizer": optimizer})
