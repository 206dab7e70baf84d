"""mmengine's runner with the switches of a run (engine/switches.py), and with loaders that never make a GPU wait."""

import torch
from mmengine.config import Config
from torch import nn
from torch.utils.data import DataLoader

from backbones.blocks import compile_blocks, encoder_of, put_channels_last, recompute_blocks
from engine.errors import UserError
from engine.runner import QuietRunner


class SwitchedRunner(QuietRunner):
    """A runner whose model is switched before it is wrapped for several processes, and whose loaders pin memory."""

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Switch the model, then wrap it as mmengine does. UserError where a switch does not fit the encoder."""
        switch(model, self.cfg)
        return super().wrap_model(model_wrapper_cfg, model)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """As mmengine's; where there is a GPU, batches come in pinned memory, whatever the configuration says."""
        if isinstance(dataloader, dict):
            dataloader = {**dataloader, "pin_memory": torch.cuda.is_available()}
        return QuietRunner.build_dataloader(dataloader, seed, diff_rank_seed)


def switch(model: nn.Module, cfg: Config) -> None:
    """Put a model into the state that the switches of a configuration ask for."""
    model.data_preprocessor._non_blocking = True  # mmseg's takes no such argument; mmengine's base reads it
    if cfg.get("channels_last"):
        put_channels_last(model)
    if cfg.get("recompute_blocks"):
        recompute_blocks(encoder_of(model))
    if cfg.get("compile_blocks"):
        compile_blocks(encoder_of(model))


def set_precision(cfg: Config) -> None:
    """Have GPUs multiply float32 in full, or in TensorFloat32 where the configuration asks for it.

    torch's own default is full for matrix products and TensorFloat32 for convolutions, which no name says.

    Raises:
        UserError: TensorFloat32 without an NVIDIA GPU.
    """
    asked = bool(cfg.get("tf32"))
    if asked and not torch.cuda.is_available():
        raise UserError("--tf32 is for NVIDIA GPUs, and torch sees none: leave it out")
    torch.set_float32_matmul_precision("high" if asked else "highest")
    torch.backends.cudnn.allow_tf32 = asked
