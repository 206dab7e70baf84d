"""LightCLIP against CLIP on the three light encoders of its paper, three pretrainings each, on the embedded scenes.

COMMAND   python tools/study.py light
          python -m reports runs/study
COST      docs/study.md, "LightCLIP on light encoders"
EXPECTED  docs/study.md, "LightCLIP on light encoders"

Both methods have 250 updates of 64 images, the same noisy captions, augmentation, text tower and schedule. Every seed
is a pretraining and a fine-tuning of its own. Nothing is searched: heads start from their configs' learning rate.
"""

scale = "study"
seeds = (0, 1, 2)
pretrain_anew = True
tasks = ("zero_shot", "retrieval", "linear_probe", "knn", "semantic_fpn", "linear_seg")
encoders = (
    "clip_resnet18",
    "lightclip_resnet18",
    "clip_mobilenetv2",
    "lightclip_mobilenetv2",
    "clip_swin_nano",
    "lightclip_swin_nano",
)
