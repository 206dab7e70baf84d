"""LightCLIP on noisy captions: softened labels, matched tokens, masked words. ResNet-18 at paper scale.

COMMAND   python tools/train.py pretrain/configs/lightclip.py
COST      docs/methods.md, "What a step costs"
EXPECTED  what `make study` prints (study/configs/full.py)
"""

_base_ = ["./_base_/light_recipe.py"]
method = "lightclip"
model = dict(type="LightCLIP", image_size=64)
at_scale = dict(
    tiny=dict(recipe=dict(updates=300)), study=dict(recipe=dict(updates=750)), paper=dict(model=dict(image_size=224))
)
