"""Encoders of any origin on data of one's own: a study file to copy. docs/study_files.md says what each line may hold.

COMMAND   python tools/study.py mine
COST      a run takes as long as tools/train.py with the same words; random weights and baselines add runs
EXPECTED  a table of your own: python -m reports runs/tiny-camvid --out report/mine
"""

data = ("docs/overlays/camvid.py",)  # as tools/prepare.py writes them; scores of one table need one data set
encoders = (
    "mae",  # a method of the suite: pretrained on the embedded data first
    dict(encoder="timm:resnet18.a1_in1k", name="ResNet-18, ImageNet"),  # converted once, kept in runs/encoders
    # "runs/tiny/pretrain/mae/seed1/checkpoint", "path/to/dinov2_vits14_pretrain.pth", "hf:facebook/dinov2-small"
)
tasks = ("upernet",)
seeds = (0, 1, 2)
floor = True  # random weights of each architecture too
baselines = True  # and what needs no encoder: the most frequent class, the mean depth map
