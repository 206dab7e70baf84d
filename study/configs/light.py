"""LightCLIP against CLIP on the three light encoders of its paper, three pretrainings each, on the embedded scenes.

COMMAND   python tools/study.py light
          python -m reports runs/study --rows "CLIP, *" "LightCLIP, *"
COST      docs/study.md, "LightCLIP on light encoders"
EXPECTED  docs/study.md, "LightCLIP on light encoders"

Both methods have the same captions, augmentation, text tower and schedule, and 1,000 updates of 64 images: the first
250, on noisy captions, leave the loss of CLIP with ResNet-18 at the logarithm of 64, where it began. So the captions
are the aligned ones. Every seed is a pretraining and a fine-tuning of its own. Heads start from their configs'
learning rate.
"""

scale = "study"
seeds = (0, 1, 2)
pretrain_anew = True
tasks = ("zero_shot", "retrieval", "linear_probe", "knn", "semantic_fpn", "linear_seg")
budget = {"recipe.updates": 1000, "captions": "aligned"}
encoders = tuple(
    dict(encoder=f"{method.lower()}_{encoder}", name=f"{method}, {name}", pretrain=budget)
    for encoder, name in (("mobilenetv2", "MobileNetV2"), ("resnet18", "ResNet-18"), ("swin_nano", "Swin-Nano"))
    for method in ("CLIP", "LightCLIP")
)
del budget
