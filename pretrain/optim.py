"""Parameter groups of pretraining: which tensors the weight decay pulls towards 0."""

from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from engine.errors import UserError


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DecayGroups:
    """Build the optimizer with two parameter groups: decayed and not decayed.

    Not decayed are biases, norms, scalars (everything with fewer than two axes), unless `vectors` is set, and the names
    in `no_decay`, matched against the last part of a parameter's name. Two groups, where mmengine's constructor makes
    one for every parameter, so that a fused or foreach optimizer works on whole groups.

    Args:
        optim_wrapper_cfg: config of the wrapper with its `optimizer`.
        paramwise_cfg: {"no_decay": [...], "vectors": False}; the names listed below unless given.

    Raises:
        UserError: another key in `paramwise_cfg`.
    """

    NO_DECAY = (
        "pos_embed", "cls_token", "reg_token", "mask_token", "positional_embedding", "relative_position_bias_table",
    )  # fmt: skip

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop("optimizer"))
        rules = {"no_decay": self.NO_DECAY, "vectors": False, **(paramwise_cfg or {})}
        self.no_decay, self.vectors = set(rules.pop("no_decay")), rules.pop("vectors")
        if rules:
            raise UserError(f"optim_wrapper.paramwise_cfg has no {next(iter(rules))!r}: it takes no_decay and vectors")

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Return the optimizer wrapper over the parameters that require gradients."""
        decay, no_decay = [], []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                free = (parameter.ndim < 2 and not self.vectors) or name.rsplit(".", 1)[-1] in self.no_decay
                (no_decay if free else decay).append(parameter)
        groups = [{"params": decay}, {"params": no_decay, "weight_decay": 0.0}]
        optimizer = OPTIMIZERS.build({**self.optimizer_cfg, "params": [group for group in groups if group["params"]]})
        return OPTIM_WRAPPERS.build({"type": "OptimWrapper", **self.wrapper_cfg, "optimizer": optimizer})
