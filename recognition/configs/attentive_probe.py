"""Attentive probe: one learnable query that attends to all tokens once, then BatchNorm and a linear layer (CAE).

COMMAND   python tools/test.py recognition/configs/attentive_probe.py --checkpoint FOLDER
COST      docs/demo.md, most of it for the tokens of 8192 training images; at scale "paper" the encoder
          sees 90 x 1.28 M augmented images (docs/protocols.md, "Probes"), by tools/train.py in place of tools/test.py
EXPECTED  above the linear probe's, most where the class token learned little; colour of the largest solid, encoders of
          scale "tiny", chance 12.5 %: random 71.9, MAE 73.8, CLIP 70.7 %. A query finds colours among the patches of
          any encoder, so this probe divides encoders less than the linear one. At scale "paper", top-1 on ImageNet-1K:
          MAE ViT-B of 1600 epochs 74.2, ViT-L 78.8; CAE ViT-B of 300, 800, 1600 epochs 74.0, 75.9, 77.2 (all CAE's
          README)
"""

_base_ = ["./_base_/scene_classes.py"]
task = "attentive_probe"
head = "attentive probe"
primary = "top1"
# the rate lies between 0.4 of batches of 8192 and its linear share for 256: there are 640 steps
probe_recipe = dict(kind="attentive", optimizer="sgd", lr=0.05, batch=256, epochs=20, warm_up=2)
at_scale = dict(tiny=dict(probe=probe_recipe), study=dict(probe=probe_recipe))
