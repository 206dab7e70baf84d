"""Image-text pairs: the scenes', and at scale "paper" YFCC15M in the img2dataset layout below data/yfcc15m/shards."""

_base_ = ["./image_text.py"]
at_scale = dict(
    paper=dict(
        data=dict(_delete_=True, name="yfcc15m", kind="image_text", root="data/yfcc15m/shards", pattern="*.tar"),
        recipe=dict(images=15_255_632),
    )
)
