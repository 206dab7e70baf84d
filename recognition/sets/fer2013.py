"""FER-2013's 7 178 test faces: top-1 with CLIP's six templates and its several names of an emotion.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/fer2013.py

A folder per class below train and test: data/fer2013/test/angry/*.jpg. The publisher's file is a CSV of pixels; take a
release as images. Names and templates: openai/CLIP, data/prompts.md. A class is the mean over all its names' prompts.
"""

data = dict(
    name="fer2013", kind="image_folder", root="data/fer2013/test", train="data/fer2013/train", test="data/fer2013/test"
)
questions = dict(
    emotion=dict(
        classes=("angry", "disgusted", "fearful", ("happy", "smiling"), ("sad", "depressed"),
                 ("surprised", "shocked", "spooked"), ("neutral", "bored")),
        aliases=dict(disgust="disgusted", fear="fearful", surprise="surprised"),
        templates=("a photo of a {} looking face.", "a photo of a face showing the emotion: {}.",
                   "a photo of a face looking {}.", "a face that looks {}.", "they look {}.",
                   "look at how {} they are."),
    ),
)  # fmt: skip
primary = "top1"
