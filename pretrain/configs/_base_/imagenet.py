"""Images alone: of the shards, and at scale "paper" of ImageNet-1K as a folder per class below data/imagenet/train."""

_base_ = ["./image_text.py"]
at_scale = dict(
    paper=dict(
        data=dict(_delete_=True, name="imagenet", kind="image_folder", root="data/imagenet/train"),
        recipe=dict(images=1_281_167),
    )
)
