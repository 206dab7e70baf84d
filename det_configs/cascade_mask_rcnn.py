"""Cascade Mask R-CNN (Cai & Vasconcelos 2019): three box heads, each trained on what the one before it found, at rising
overlaps; each with a mask head. Everything else is Mask R-CNN's.

COMMAND   python tools/train.py det_configs/cascade_mask_rcnn.py --encoder NAME|FOLDER
COST      docs/protocols.md, "COST"
EXPECTED  docs/protocols.md, "Cascade Mask R-CNN 3x"
"""

_base_ = ["./mask_rcnn.py"]
task, head = "cascade_mask_rcnn", "Cascade Mask R-CNN"
other_forms = "the cascade has one published form here, --scale paper"
at_scale = {"paper-cae": other_forms, "paper-mobile": other_forms}
box_head = _base_.model.roi_head.bbox_head
stages = ((0.5, [0.1, 0.1, 0.2, 0.2]), (0.6, [0.05, 0.05, 0.1, 0.1]), (0.7, [0.033, 0.033, 0.067, 0.067]))
model = dict(
    type="CascadeRCNN",
    roi_head=dict(
        type="CascadeRoIHead",
        num_stages=3,
        stage_loss_weights=[1.0, 0.5, 0.25],
        bbox_head=[dict(box_head, bbox_coder=dict(box_head.bbox_coder, target_stds=stds)) for _, stds in stages],
    ),
    train_cfg=dict(
        rcnn=[
            dict(
                _base_.model.train_cfg.rcnn,
                assigner=dict(
                    type="MaxIoUAssigner", pos_iou_thr=overlap, neg_iou_thr=overlap, min_pos_iou=overlap,
                    match_low_quality=False, ignore_iof_thr=-1,
                ),
            )
            for overlap, _ in stages
        ],
    ),
)  # fmt: skip
