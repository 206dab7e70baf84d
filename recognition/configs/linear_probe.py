"""Linear probe: BatchNorm without affine parameters and a linear layer on the encoder's own pooled feature.

COMMAND   python tools/test.py recognition/configs/linear_probe.py --checkpoint FOLDER
COST      docs/demo.md, where the features of the 8192 training images were stored before; at scale "paper" the encoder
          sees 90 x 1.28 M augmented images (docs/protocols.md, "Probes"), by tools/train.py in place of tools/test.py
EXPECTED  the random encoder's is the value to compare with; colour of the largest solid, encoders of scale "tiny",
          chance 12.5 %: random 37.5, MAE 50.8, CLIP 62.5 %. At scale "paper", top-1 on ImageNet-1K: MAE ViT-B of 1600
          epochs 67.8, ViT-L 76.0 (MAE's FINETUNE page); CAE ViT-B of 300, 800, 1600 epochs 64.5, 68.9, 70.3 (CAE's
          README)
"""

_base_ = ["./_base_/scene_classes.py"]
task = "linear_probe"
head = "linear probe"
primary = "top1"
# MAE's, at four times its rate: 8192 images in batches of 1024 leave it a tenth of its steps
probe_recipe = dict(kind="linear", optimizer="lars", lr=25.6, batch=1024, epochs=90, warm_up=10)
at_scale = dict(tiny=dict(probe=probe_recipe), study=dict(probe=probe_recipe))
