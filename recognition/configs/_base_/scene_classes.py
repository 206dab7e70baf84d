"""The scenes as a folder per colour of the largest solid: what k-NN, the probes and fine-tuning of the embedded scales
learn and are tested on.

Why the colour: of the attributes of a scene it alone divides encoders. Logistic regression on the pooled features of
8192 pretraining scenes, scored on 1024 other scenes of the validation range (no test scene was used), encoders of scale
"study", in %:

             colour   shape  material  size  count   floor    wall
chance           12      17        33    33     20      25      25
random           36      23        35    58     36      73      67
mae              45      27        38    60     38      80      84
oracle           48      36        38    60     40      78      78
supervised       49      33        40    60     35      62      42
clip             54      24        37    59     40      54      47
clip_aligned     62      23        40    60     43      52      52
"""

data = dict(
    name="scenes", kind="image_folder", attribute="colour", root="data/scenes",
    train="data/scenes/classes/colour/pretrain", val="data/scenes/classes/colour/val",
    test="data/scenes/classes/colour/test",
)  # fmt: skip
at_scale = dict(
    study=dict(
        data=dict(
            root="data/scenes-study", train="data/scenes-study/classes/colour/pretrain",
            val="data/scenes-study/classes/colour/val", test="data/scenes-study/classes/colour/test",
        ),
    ),
)  # fmt: skip
