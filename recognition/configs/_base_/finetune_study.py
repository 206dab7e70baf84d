"""Fine-tuning at scale "study": the same on the scenes of the study."""

_base_ = ["./finetune_tiny.py"]
