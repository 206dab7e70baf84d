"""Photographs from pretraining on: seven methods on Tiny ImageNet's images, then road scenes, clothes and classes.

COMMAND   python tools/study.py photographs
COST      30 pretrainings of a million images each, which want a GPU, 9 draws, 334 fine-tunings, probes and tests
EXPECTED  python -m reports runs/tiny-camvid, and the same of tiny-ccp_clothing and tiny-tiny_imagenet; docs/real.md

docs/real.md, "Pretrained on photographs", makes the captions and the subsets; data/camvid, data/ccp_clothing and
data/published are as in study/configs/real.py. Every seed is a pretraining and a fine-tuning of its own.
"""

data = ("docs/overlays/camvid.py", "docs/overlays/ccp_clothing.py", "recognition/sets/tiny_imagenet.py")
pretrain_data = ("docs/overlays/tiny_imagenet.py", "docs/overlays/tiny_imagenet_captions.py")
pretrain_anew = True
bf16 = {"optim_wrapper.amp": True}
part = {"data.root": "data/tiny_imagenet/subsets/{0}", "data.name": "tiny_imagenet_{0}"}
named = {"mae": "MAE", "cae": "CAE", "moco_v3": "MoCo v3", "dino": "DINO", "supervised": "supervised", "clip": "CLIP",
         "maskclip": "MaskCLIP"}  # fmt: skip
encoders = (
    *(dict(encoder=method, name=name, pretrain=bf16) for method, name in named.items()),
    dict(encoder="clip", name="CLIP, half the names wrong or missing", pretrain={**bf16, "captions": "noisy"}),
    *(
        dict(
            encoder="clip",
            name=f"CLIP, {count:,} images",
            pretrain={**bf16, **{key: text.format(count) for key, text in part.items()}},
        )
        for count in (1250, 5000)
    ),
    dict(
        encoder="timm:tf_efficientnet_lite0.in1k@data/published/tf_efficientnet_lite0.safetensors",
        name="EfficientNet-Lite0, ImageNet",
    ),
)
tasks = ("upernet", "semantic_fpn", "linear_seg", "linear_probe", "knn")
options = {"train_cfg.max_iters": 300}
floor = True
del bf16, part, named
