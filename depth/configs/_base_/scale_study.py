"""Scale "study": the same fine-tuning; the study pretrains longer and repeats over seeds."""

data = dict(root="data/scenes-study", scenes_root="data/scenes-study")
model = dict(decode_head=dict(embed_dim=16))
train_cfg = dict(max_iters=150)
train_dataloader = dict(batch_size=8)
