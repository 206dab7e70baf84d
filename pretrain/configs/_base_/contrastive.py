"""CLIP's text tower for the embedded data: the captions' own vocabulary, 48 tokens (the longest aligned caption)."""

_base_ = ["./image_text.py"]
model = dict(text=dict(embed_dim=96, vocabulary="<data>", context=48, width=96, layers=4, heads=3))
train_dataloader = dict(dataset=dict(context=48))
