"""Importing this lets programs of mmseg and mmdet load models of this suite.

    import densebench.openmmlab  # before mmseg and mmdet
    from mmseg.apis import init_model, inference_model
    model = init_model("out/config.py", "out/model.pth", device="cpu")

It puts the checkout at the end of the path, where a config's `custom_imports` find the rooms that they name, and brings
`compat`, by which mmdet works without a compiled mmcv. Configs from `tools/convert.py RUN OUT --to mmseg|mmdet` name
it first.
"""

from densebench import open_rooms

open_rooms()
