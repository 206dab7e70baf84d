"""Scale "paper-mobile": Mask R-CNN 1x for hierarchical encoders, PoolFormer's recipe (also FastViT's and MobileCLIP's):
the plain form's heads and schedule, 2e-4, weight decay 1e-4, no layer decay, no drop-path."""

_base_ = ["./mask_rcnn_paper.py"]
refused_encoders = dict(_delete_=True, plain="use --scale paper or --scale paper-cae, the recipes of plain ViTs")
pretrain_scale = "paper"
drop_path_rate = 0.0
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=1e-4), paramwise_cfg=dict(layer_decay=1.0))
