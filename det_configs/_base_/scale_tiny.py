"""Scale "tiny": 128 embedded images, under a minute of one core."""

train_cfg = dict(max_iters=150)
train_dataloader = dict(batch_size=8)
