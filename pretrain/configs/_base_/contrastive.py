"""CLIP's text tower at the size of the embedded data: the captions' own vocabulary, 40 tokens."""

_base_ = ["./image_text.py"]
model = dict(
    text=dict(embed_dim=96, vocabulary="data", context=40, width=96, layers=4, heads=3),
)
train_dataloader = dict(dataset=dict(context=40))
