"""ImageNet-1K as a folder per class, at 224 pixels: RandomResizedCrop and flip in training; in tests the short side to
256 (bicubic), then the centre."""

_base_ = ["./classification.py"]
train_images = 1_281_167
data = dict(
    _delete_=True, name="imagenet", kind="image_folder", root="data/imagenet", train="data/imagenet/train",
    test="data/imagenet/val", size=(224, 224),
)  # fmt: skip
workers = dict(num_workers=8, persistent_workers=True)
train_dataloader = dict(
    pin_memory=True,
    dataset=dict(transform=dict(scale=(0.08, 1.0), hflip=0.5, color_jitter=None, interpolation="bicubic")),
    **workers,
)
val_dataloader = dict(batch_size=128, dataset=dict(short=256), **workers)
test_dataloader = val_dataloader
state_interval = 1000
