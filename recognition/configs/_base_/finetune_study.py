"""Fine-tuning at scale "study": the same on the scenes of the study."""

_base_ = ["./finetune_tiny.py"]
data = dict(
    root="data/scenes-study", train="data/scenes-study/imagefolder/pretrain",
    val="data/scenes-study/imagefolder/val", test="data/scenes-study/imagefolder/test",
)  # fmt: skip
