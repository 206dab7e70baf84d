"""One file per pretraining method; importing this package registers them in mmengine's MODELS."""

from pretrain.methods.clip import CLIP
from pretrain.methods.mae import MAE
from pretrain.methods.maskclip import MaskCLIP
from pretrain.methods.oracle import Oracle
from pretrain.methods.random_init import RandomInit
from pretrain.methods.supervised import Supervised

__all__ = ["CLIP", "MAE", "MaskCLIP", "Oracle", "RandomInit", "Supervised"]
