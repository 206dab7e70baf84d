"""LightCLIP's recipe for its light encoders: at 64 pixels an update costs three of the suite's ViT's, so fewer fit."""

_base_ = ["./light_recipe.py"]
recipe = dict(warm_up_updates=25)
at_scale = dict(tiny=dict(recipe=dict(updates=100)), study=dict(recipe=dict(updates=250)))
