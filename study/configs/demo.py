"""The short study: five encoders on the embedded data, one seed.

COMMAND   python tools/study.py demo
COST      about 20 minutes on 2 cores (docs/study.md, "Cost")
EXPECTED  docs/study.md, "Main table"
"""

scale = "tiny"
encoders = ("random", "clip", "maskclip", "mae", "cae")
seeds = (0,)
