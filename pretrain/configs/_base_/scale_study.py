"""Scale "study": the same models and data layout with the budgets that open headroom over random initialisation."""

train_cfg = dict(max_iters=1000)
