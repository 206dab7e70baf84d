"""One file per pretraining method; importing this package registers them in mmengine's MODELS."""

from pretrain.methods.clip import CLIP
from pretrain.methods.mae import MAE

__all__ = ["CLIP", "MAE"]
