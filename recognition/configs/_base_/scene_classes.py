"""The scenes as a folder per colour of the largest solid: what k-NN, the probes and fine-tuning of the embedded scales
learn and are tested on.

Why the colour: docs/recognition.md, "Probes and fine-tuning".
"""

data = dict(
    name="scenes", kind="image_folder", attribute="colour", root="data/scenes", scenes_root="data/scenes",
    train="data/scenes/classes/colour/pretrain", val="data/scenes/classes/colour/val",
    test="data/scenes/classes/colour/test",
)  # fmt: skip
at_scale = dict(
    study=dict(
        data=dict(
            scenes_root="data/scenes-study", root="data/scenes-study",
            train="data/scenes-study/classes/colour/pretrain", val="data/scenes-study/classes/colour/val",
            test="data/scenes-study/classes/colour/test",
        ),
    ),
)  # fmt: skip
