"""Fine-tuning of the whole encoder as an image classifier.

COMMAND   python tools/train.py recognition/configs/finetune.py --checkpoint FOLDER
COST      75 s of one core; at scale "paper" 100 x 1.28 M images forward and backward (docs/protocols.md, "COST")
EXPECTED  the random encoder's is the value to compare with; colour of the largest solid at scale "tiny", chance 12.5 %:
          random 66.8, CLIP of scale "tiny" 67.6, CLIP of aligned captions of scale "study" 75.8 %. At scale "paper",
          top-1 on ImageNet-1K: MAE ViT-B of 1600 epochs 83.6 (MAE's FINETUNE page: 83.664); CAE ViT-B of 300, 800,
          1600 epochs 83.6, 83.8, 83.9 (CAE's README); CLIP and SLIP ViT-B/16 of YFCC15M 80.5, 82.6 (SLIP's README);
          FD-CLIP 84.9 (FD, arXiv 2205.14141v3)
"""

_base_ = ["./_base_/classification.py", "./_base_/scene_classes.py"]
task = "finetune"
head = "linear"
model = dict(head="fresh")
