"""Attentive probe at scale "paper": CAE's (Atten4Vis/CAE, scripts), 90 epochs of augmented ImageNet-1K."""

_base_ = ["./imagenet.py"]
global_batch_size = 8192
updates = _base_.train_images / global_batch_size  # of an epoch
model = dict(head="attentive", backbone=dict(frozen=True, pool="tokens"))
train_cfg = dict(max_iters=int(90 * updates))
optim_wrapper = dict(_delete_=True, constructor="ProbeConstructor", optimizer=dict(type="sgd", lr=0.4))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=int(10 * updates) + 1),
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=int(10 * updates), end="<last>", T_max="<last>"),
]
