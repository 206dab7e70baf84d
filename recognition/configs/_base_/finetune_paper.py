"""Fine-tuning on ImageNet-1K at scale "paper": 100 epochs of DeiT's augmentation, and what differs by method.

source                                          method     pool   rate   batch  decay  drop-path  warm-up
facebookresearch/mae, fine-tuning guide, ViT-B  mae        mean   2e-3   1024   0.65   0.1         5 epochs
microsoft/unilm beit, BEiT-B                    beit       mean   4e-3   1024   0.65   0.1        20
Atten4Vis/CAE, cae_base_finetune.sh             cae        mean   8e-3   4096   0.65   0.1         5
SwinTransformer/Feature-Distillation, FD-CLIP   fd         mean   5e-3   2048   0.6    0.3        20
facebookresearch/SLIP, README, ViT-B            CLIP kin   own    4e-3   1024   0.65   0.1        20
none published in this form                     all others own    2e-3   1024   0.65   0.1         5

CAE's blocks also get a relative position bias from zero (backbones/added_bias.py).

CLIP kin: CLIP, SLIP, MaskCLIP, LightCLIP, DeCLIP and DataCompDR (`clip_kin` in engine/catalogue.py); only SLIP's and
CLIP's own numbers are published with that recipe. "own" is the encoder's own pooling: the class token of a ViT. Others
of the sources, by --cfg-options: dBOT-B as mae with rate 1.2e-3; FT-CLIP (OpenAI's CLIP tuned for itself, 85.7 where
FD's recipe gives 82.9) rate 6e-4, batch 2048, decay 0.6, drop-path 0, 50 epochs with 10 of warm-up, no mixup and no
cutmix (and an average of weights, which is not built here).
"""

_base_ = ["./imagenet.py"]

from engine.catalogue import CLIP_KIN  # noqa: E402  below `_base_`, by which mmengine knows the kind of config


def recipe(rate: float, batch: int, decay: float, drop_path: float, warm_up: int, **backbone: object) -> dict:
    """One row: the rate rises for `warm_up` of 100 epochs and falls to 1e-6 along half a cosine; no clipping."""
    epoch = 1_281_167 / batch  # updates
    rise = int(warm_up * epoch)
    return dict(
        global_batch_size=batch,
        drop_path_rate=drop_path,
        model=dict(backbone={"pool": "own", **backbone}),
        train_cfg=dict(max_iters=int(100 * epoch)),
        optim_wrapper=dict(
            optimizer=dict(lr=rate, betas=(0.9, 0.999), weight_decay=0.05),
            paramwise_cfg=dict(layer_decay=decay),
            clip_grad=None,
        ),
        param_scheduler=[
            dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=rise + 1),
            dict(
                type="CosineAnnealingLR",
                eta_min_ratio=1e-6 / rate,
                by_epoch=False,
                begin=rise,
                end="<last>",
                T_max="<last>",
            ),
        ],
    )


others = recipe(2e-3, 1024, 0.65, 0.1, 5)
global_batch_size, drop_path_rate = others["global_batch_size"], others["drop_path_rate"]
model = dict(mixup=0.8, cutmix=1.0, smoothing=0.1, erasing=0.25, **others["model"])
train_dataloader = dict(dataset=dict(transform=dict(auto_augment="rand-m9-mstd0.5-inc1")))
train_cfg, optim_wrapper = others["train_cfg"], others["optim_wrapper"]
param_scheduler = others["param_scheduler"]
clip = recipe(4e-3, 1024, 0.65, 0.1, 20)
by_method = dict(
    mae=recipe(2e-3, 1024, 0.65, 0.1, 5, pool="mean"),
    beit=recipe(4e-3, 1024, 0.65, 0.1, 20, pool="mean"),
    cae=recipe(8e-3, 4096, 0.65, 0.1, 5, pool="mean", relative_bias=(224, 224)),
    fd=recipe(5e-3, 2048, 0.6, 0.3, 20, pool="mean"),
    **dict.fromkeys(CLIP_KIN, clip),
)  # fmt: skip
