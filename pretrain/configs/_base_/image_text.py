"""Image-text shards: pictures, and one caption each where the method asks for it."""

_base_ = ["./pretrain.py"]
data = dict(
    name="scenes", kind="image_text", root="data/scenes/shards", pattern="pretrain-*.tar", scenes_root="data/scenes"
)
train_dataloader = dict(dataset=dict(views=dict(image=dict(scale=(0.5, 1.0), flip=0.0))))
at_scale = dict(study=dict(data=dict(root="data/scenes-study/shards", scenes_root="data/scenes-study")))
