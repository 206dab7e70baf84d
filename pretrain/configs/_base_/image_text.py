"""Image-text shards: pictures, and one caption each where the method asks for it."""

_base_ = ["./pretrain.py"]
data = dict(
    name="scenes", kind="image_text", root="data/scenes/shards", pattern="pretrain-*.tar", scenes_root="data/scenes"
)
train_dataloader = dict(dataset=dict(captions=None, augment=dict(scale=(0.5, 1.0), flip=0.0)))
