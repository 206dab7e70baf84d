"""ResNet-18, the largest of LightCLIP's image towers."""

_base_ = ["./light_encoder.py"]
model = dict(encoder=dict(_delete_=True, name="resnet18", kwargs={}))
