"""The embedded scenes in one go: seven methods at CLIP's images and in CLIP's time, three pretrainings each.

COMMAND   python tools/study.py scenes
          python -m reports runs/study --rows "*equal images" CLIP "CLIP, aligned"
          python -m reports runs/study --rows "*equal time" CLIP "CLIP, aligned"
COST      docs/study.md, "Cost"
EXPECTED  docs/study.md

Every seed is a pretraining and a fine-tuning of its own, so that intervals hold the variance of both. CLIP has 400
updates of 64 images. A row "equal images" has as many; a row "equal time" as many as take a processor as long, by the
seconds of an update of each method, CAE's tokenizer counted. A method's schedule ends where its budget does. The
oracle, the ceiling, has 800 updates.
"""

scale = "study"
seeds = (0, 1, 2)
pretrain_anew = True
grid = dict(lr=(2e-3, 4e-3), layer_decay=(0.5, 0.75))
tasks = (
    "upernet",
    "semantic_fpn",
    "mask_rcnn",
    "depth",
    "linear_seg",
    "knn_seg",
    "linear_depth",
    "linear_probe",
    "knn",
    "zero_shot",
    "retrieval",
)
images = {"recipe.updates": 400}
encoders = (
    "random",
    dict(encoder="oracle", name="oracle", pretrain={"recipe.updates": 800}),
    dict(encoder="clip", name="CLIP", pretrain=images),
    dict(encoder="mae", name="MAE, equal images", pretrain=images),
    dict(encoder="mae", name="MAE, equal time", pretrain={"recipe.updates": 690}),
    dict(encoder="maskclip", name="MaskCLIP, equal images", pretrain=images),
    dict(encoder="maskclip", name="MaskCLIP, equal time", pretrain={"recipe.updates": 205}),
    dict(encoder="cae", name="CAE, equal images", pretrain=images),
    dict(encoder="cae", name="CAE, equal time", pretrain={"recipe.updates": 200}),
    dict(encoder="clip_aligned", name="CLIP, aligned", pretrain=images),
    dict(encoder="supervised", name="supervised, equal images", pretrain=images),
    dict(encoder="supervised", name="supervised, equal time", pretrain={"recipe.updates": 450}),
    dict(encoder="dino", name="DINO, equal images", pretrain=images),
    dict(encoder="dino", name="DINO, equal time", pretrain={"recipe.updates": 130}),
)
del images
