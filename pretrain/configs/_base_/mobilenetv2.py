"""MobileNetV2, the smallest of LightCLIP's image towers."""

_base_ = ["./light_encoder.py"]
model = dict(encoder=dict(_delete_=True, name="mobilenetv2_100", kwargs={}))
at_scale = dict(paper=dict(model=dict(encoder=dict(name="mobilenetv2_100"))))
