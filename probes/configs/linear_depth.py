"""Linear depth: BatchNorm and a 1x1 convolution to bins of depth on the frozen map of the last block (DINOv2).

COMMAND   python tools/test.py probes/configs/linear_depth.py --checkpoint FOLDER
COST      docs/demo.md; of scale "paper" docs/protocols.md, "Dense probes"
EXPECTED  the random encoder's is the value to compare with: encoders of scale "tiny", random 0.992,
          CLIP 1.081, MAE 0.739 m; of scale "paper" docs/protocols.md, "Dense probes"
"""

_base_ = ["../../depth/configs/_base_/scenes.py"]
task, head, primary = "linear_depth", "linear to bins, taps: {taps}", "rmse"
custom_imports = dict(imports=["depth"], allow_failed_imports=False)
probe = dict(taps="last", lr=1e-2, weight_decay=0.01, batch=16, iterations=300, warm_up=20, bins=64)
