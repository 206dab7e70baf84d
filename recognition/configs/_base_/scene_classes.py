"""The scenes as a folder per shape, which k-NN and the probes of the embedded scales learn from and are tested on."""

data = dict(
    name="scenes", kind="image_folder", root="data/scenes", train="data/scenes/imagefolder/pretrain",
    test="data/scenes/imagefolder/test",
)  # fmt: skip
at_scale = dict(
    study=dict(
        data=dict(
            root="data/scenes-study", train="data/scenes-study/imagefolder/pretrain",
            test="data/scenes-study/imagefolder/test",
        ),
    ),
)  # fmt: skip
