"""The evidence: twenty methods on every task, three seeds, settings chosen on validation images from one small grid.

COMMAND   python tools/study.py full
COST      hours on two cores; docs/methods.md, "What a step costs"
EXPECTED  docs/study.md for a part of it, at other budgets
"""

scale = "study"
encoders = (
    "random",
    "oracle",
    "mae",
    "cae",
    "maskclip",
    "clip_aligned",
    "clip",
    "supervised",
    "beit",
    "fd",
    "wsp",
    "slip",
    "declip",
    "lightclip",
    "datacompdr",
    "moco_v3",
    "dino",
    "clip_enriched",
    "clip_mixed",
    "clip_rewritten",
)  # in the order in which they are started
seeds = (0, 1, 2)
grid = dict(lr=(2e-3, 4e-3), layer_decay=(0.5, 0.75))
