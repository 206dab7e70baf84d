"""STL-10's 8 000 test images: top-1 with CLIP's two templates.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint FOLDER --data recognition/sets/stl10.py

A folder per class below train and test: data/stl10/test/monkey/*.png. The publisher's files are raw bytes (test_X.bin);
take a release as images. Names and templates: openai/CLIP, data/prompts.md.
"""

data = dict(name="stl10", kind="image_folder", root="data/stl10/test", train="data/stl10/train", test="data/stl10/test")
questions = dict(
    object=dict(
        classes=("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
        templates=("a photo of a {}.", "a photo of the {}."),
    )
)
primary = "top1"
