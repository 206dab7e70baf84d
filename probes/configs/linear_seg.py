"""Linear segmentation: BatchNorm and a 1x1 convolution on the frozen map of the last block (DINOv2's BNHead).

COMMAND   python tools/test.py probes/configs/linear_seg.py --checkpoint FOLDER
COST      docs/demo.md; of scale "paper" docs/protocols.md, "Dense probes"
EXPECTED  the random encoder's is the value to compare with: encoders of scale "tiny", random 19.2,
          CLIP 19.1, MAE 26.7 mIoU; of scale "paper" docs/protocols.md, "Dense probes"
"""

_base_ = ["../../seg_configs/_base_/scenes.py"]
task, head, primary = "linear_seg", "linear, taps: {taps}", "mIoU"
probe = dict(taps="last", lr=3e-2, weight_decay=1e-4, batch=16, iterations=300, warm_up=20)
