"""The short study: five encoders on the embedded data, one seed.

COMMAND   python tools/study.py demo
COST      16 minutes of processor time, set-up included (docs/demo.md)
EXPECTED  docs/demo.md
"""

scale = "tiny"
encoders = ("random", "clip", "maskclip", "mae", "cae")
seeds = (0,)
