"""NYUv2 (Silberman et al. 2012), at the crop that MIM-Depth-Estimation trains on."""

data = dict(
    _delete_=True, name="nyuv2", kind="depth", root="data/nyuv2", images="images/{split}", labels="depth/{split}",
    splits=dict(train="train", val="test", test="test"), max_depth=10.0, depth_scale=1000.0, size=(480, 480),
)  # fmt: skip
