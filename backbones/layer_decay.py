"""Layer-wise learning-rate decay as an mmengine optimizer constructor (BEiT's rule)."""

from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from backbones.pyramid import EncoderPyramid
from engine.errors import UserError


def layer_decay_groups(model: nn.Module, lr: float, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Parameter groups with learning rate lr * layer_decay ** (last - group).

    Groups of the encoder come from its adapter (`EncoderPyramid.layer_ids`); everything outside the adapter is in the
    last group and has the full rate. Tensors of fewer than two dimensions, biases, positions and class tokens take no
    weight decay. Parameters of equal rate and decay share a group, for fewer, larger fused updates.

    Returns:
        Groups {params, lr, weight_decay, lr_scale, names}, in order of rising rate.

    Raises:
        UserError: the model holds no adapter or several, or layer_decay is outside (0, 1].
    """
    adapters = [(name, module) for name, module in model.named_modules() if isinstance(module, EncoderPyramid)]
    if len(adapters) != 1:
        raise UserError(
            f"layer decay needs exactly one backbone of backbones/ in the model, found {len(adapters)}; "
            "use ViTPyramid or HierarchicalPyramid, or leave the constructor out"
        )
    if not 0 < layer_decay <= 1:
        raise UserError(f"layer_decay is {layer_decay}; it must be above 0 and at most 1")
    prefix, adapter = adapters[0]
    prefix = f"{prefix}." if prefix else ""
    inner, last = adapter.layer_ids()
    layers = {prefix + name: group for name, group in inner.items()}
    exempt = {prefix + name for name in adapter.no_decay_names()}
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = layer_decay ** (last - layers.get(name, last))
        decays = parameter.ndim > 1 and not name.endswith(".bias") and name not in exempt
        key = (scale, weight_decay if decays else 0.0)
        empty = {"params": [], "lr": lr * scale, "weight_decay": key[1], "lr_scale": scale, "names": []}
        group = groups.setdefault(key, empty)
        group["params"].append(parameter)
        group["names"].append(name)
    return [groups[key] for key in sorted(groups)]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor:
    """Builds the optimizer wrapper with `layer_decay_groups`.

    Config: `optim_wrapper = dict(optimizer=dict(type="AdamW", lr=.., weight_decay=..),
    constructor="LayerDecayConstructor", paramwise_cfg=dict(layer_decay=0.65))`.

    mmengine's schedulers scale each group from its own rate; give their floor as `eta_min_ratio`, since an absolute
    `eta_min` would be the same for all groups.

    Raises:
        UserError: paramwise_cfg is not exactly {layer_decay}, or the optimizer states no lr.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        if set(paramwise_cfg or {}) != {"layer_decay"}:
            raise UserError(
                f"LayerDecayConstructor: paramwise_cfg holds {sorted(paramwise_cfg or {})}; "
                "state layer_decay and nothing else"
            )
        if optim_wrapper_cfg.get("optimizer", {}).get("lr") is None:
            raise UserError("LayerDecayConstructor: the optimizer has no lr; state optim_wrapper.optimizer.lr")
        self.layer_decay = paramwise_cfg["layer_decay"]
        self.optim_wrapper_cfg = {"type": "OptimWrapper", **optim_wrapper_cfg}
        self.optimizer_cfg = dict(self.optim_wrapper_cfg.pop("optimizer"))

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Return the optimizer wrapper for a model (a distributed wrapper is looked through)."""
        model = model.module if is_model_wrapper(model) else model
        lr, decay = self.optimizer_cfg["lr"], self.optimizer_cfg.get("weight_decay", 0.0)
        groups = layer_decay_groups(model, lr, decay, self.layer_decay)
        for group in groups:
            del group["names"]
        optimizer = OPTIMIZERS.build({**self.optimizer_cfg, "params": groups})
        return OPTIM_WRAPPERS.build(dict(self.optim_wrapper_cfg), default_args={"optimizer": optimizer})
