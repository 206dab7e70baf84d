"""LightCLIP against CLIP on the three light encoders of its paper, three pretrainings each, on the embedded scenes.

COMMAND   python tools/study.py light
          python -m reports runs/study --rows "CLIP, *" "LightCLIP, *"
COST      hours on two cores; docs/methods.md, "What a step costs"
EXPECTED  docs/study.md, "LightCLIP on light encoders", says how the rates were chosen

Both methods have the same captions (the aligned ones), augmentation, text tower and schedule, and 1,000 updates of 64
images. Every seed is a pretraining and a fine-tuning of its own. Heads start from their configs' learning rate.
"""

scale = "study"
seeds = (0, 1, 2)
pretrain_anew = True
floor = True
tasks = ("zero_shot", "retrieval", "linear_probe", "knn", "semantic_fpn", "linear_seg")
budget = {"recipe.updates": 1000, "recipe.warm_up_updates": 100, "captions": "aligned"}
encoders = tuple(
    dict(encoder=f"{method.lower()}_{encoder}", name=f"{method}, {name}", pretrain={**budget, **rate})
    for encoder, name, rate in (
        ("mobilenetv2", "MobileNetV2", {"recipe.rate": 3e-3}),
        ("resnet18", "ResNet-18", {}),
        ("swin_nano", "Swin-Nano", {}),
    )
    for method in ("CLIP", "LightCLIP")
)
del budget
