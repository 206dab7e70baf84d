"""Scale "study": the same models and data layout with the budgets that open headroom over random initialisation."""

recipe = dict(updates=1000)
