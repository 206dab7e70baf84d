"""The scenes as a depth task: the data of the embedded scales, and what is measured."""

data = dict(
    name="scenes",
    kind="depth",
    root="data/scenes",
    scenes_root="data/scenes",
    images="images/{split}",
    labels="depth/{split}",
    splits=dict(train="train", val="val", test="test"),
    max_depth=10.0,
    depth_scale=1000.0,
    size=(64, 64),
)
test_evaluator = dict(type="PerImageDepthMetric", max_depth="<data>")
metrics = dict(
    rmse=dict(source="rmse", unit="m", direction="down", primary=True),
    abs_rel=dict(source="abs_rel", unit="", direction="down"),
    log10=dict(source="log10", unit="", direction="down"),
    silog=dict(source="silog", unit="", direction="down"),
    delta1=dict(source="d1", factor=100, unit="%", direction="up"),
    rmse_pooled=dict(source="rmse_pooled", unit="m", direction="down"),
)
