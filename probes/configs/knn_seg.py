"""k-NN segmentation: each patch takes the labels of the training patches whose frozen features are nearest.

COMMAND   python tools/test.py probes/configs/knn_seg.py --checkpoint FOLDER
COST      docs/demo.md; of scale "paper" docs/protocols.md, "Dense probes"
EXPECTED  the random encoder's is the value to compare with: encoders of scale "tiny", random 24.8,
          CLIP 18.9, MAE 25.8 mIoU (nearest patches look alike, so random weights do well
          here); of scale "paper" docs/protocols.md, "Dense probes"
"""

_base_ = ["../../seg_configs/_base_/scenes.py"]
task, head, primary = "knn_seg", "{neighbours}-NN, taps: {taps}", "mIoU"
neighbours = 30
probe = dict(taps="last", temperature=0.02, bank=1_024_000)
