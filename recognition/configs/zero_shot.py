"""Zero-shot classification: shape, colour and material of the largest solid of each held-out scene.

COMMAND   python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER
COST      half a minute of one core
EXPECTED  encoders of image-text pretraining name the colour far above the printed chance; shape and material stay near
          it at scale "study"; an encoder without a text tower is refused
"""

task = "zero_shot"
head = "zero-shot"
primary = "top1"
data = dict(
    name="scenes",
    kind="attributes",
    root="data/scenes",
    scenes_root="data/scenes",
    labels="attributes/test.json",
    split="test",
)
questions = dict(
    shape=dict(
        classes=("sphere", "cube", "cylinder", "cone", "torus", "capsule"),
        templates=("a {}", "the {}", "photo of a {}", "a photo of a {}."),
    ),
    colour=dict(
        classes=("red", "orange", "yellow", "green", "cyan", "blue", "purple", "white"),
        templates=("{}", "{} thing", "the {} one on the floor", "a photo of a {} object."),
    ),
    material=dict(classes=("matte", "shiny", "metal"), templates=("{}", "{} object", "a photo of a {} object.")),
)
at_scale = dict(
    study=dict(data=dict(root="data/scenes-study", scenes_root="data/scenes-study")),
    paper=dict(
        data=dict(_delete_=True, name="imagenet", kind="image_folder", root="data/imagenet/val"),
        questions=dict(_delete_=True, object=dict(classes="imagenet", templates="imagenet80")),
    ),
)
