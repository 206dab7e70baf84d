"""Linear probe at scale "paper": MAE's (facebookresearch/mae, FINETUNE.md), 90 epochs of augmented ImageNet-1K.

SLIP's and MoCo v3's form by --cfg-options: docs/protocols.md, "Probes".
"""

_base_ = ["./imagenet.py"]
global_batch_size = 16_384
updates = _base_.train_images / global_batch_size  # of an epoch
model = dict(head="linear", backbone=dict(frozen=True))
train_cfg = dict(max_iters=int(90 * updates))
optim_wrapper = dict(
    _delete_=True, constructor="ProbeConstructor", optimizer=dict(type="lars", lr=0.1 * global_batch_size / 256)
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=int(10 * updates) + 1),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=int(10 * updates), end="<last>", T_max="<last>"),
]
