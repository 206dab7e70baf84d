"""Photographs from pretraining to the task: weights from Tiny ImageNet's images on road scenes.

COMMAND   python tools/study.py photographs
COST      108 fine-tunings and probes, 9 draws; two hours on 2 cores beside other work
EXPECTED  docs/real.md, "Pretrained on photographs"

The pretrainings are those of docs/overlays/tiny_imagenet.py and tiny_imagenet_captions.py, by the commands of
docs/real.md, each left in runs/tin/<name>/seed0; data/camvid and data/published are as in study/configs/real.py.
"""

data = ("docs/overlays/camvid.py",)
encoders = (
    dict(encoder="runs/tin/mae/seed0/checkpoint", name="MAE"),
    dict(encoder="runs/tin/cae/seed0/checkpoint", name="CAE"),
    dict(encoder="runs/tin/clip/seed0/checkpoint", name="CLIP"),
    dict(encoder="runs/tin/maskclip/seed0/checkpoint", name="MaskCLIP"),
    dict(encoder="runs/tin/noisy/seed0/checkpoint", name="CLIP, half the names wrong or missing"),
    dict(encoder="runs/tin/moco_v3/seed0/checkpoint", name="MoCo v3"),
    dict(encoder="runs/tin/supervised/seed0/checkpoint", name="supervised"),
    dict(encoder="runs/tin/c1250/seed0/checkpoint", name="CLIP, 1,250 images"),
    dict(
        encoder="timm:tf_efficientnet_lite0.in1k@data/published/tf_efficientnet_lite0.safetensors",
        name="EfficientNet-Lite0, ImageNet",
    ),
)
tasks = ("upernet", "semantic_fpn", "linear_seg")
options = {"train_cfg.max_iters": 300}
floor = True
