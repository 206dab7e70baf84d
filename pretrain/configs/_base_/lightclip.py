"""LightCLIP as published, for any encoder of four stages."""

_base_ = ["./light_recipe.py"]
model = dict(type="LightCLIP", image_size=64)
at_scale = dict(paper=dict(model=dict(image_size=224)))
