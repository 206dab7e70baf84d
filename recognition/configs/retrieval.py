"""Retrieval between the held-out scenes and their aligned captions, in both directions.

COMMAND   python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER
COST      seconds of one core
EXPECTED  an encoder of image-text pretraining is above the printed chance; one without a text tower is refused
"""

task = "retrieval"
data = dict(
    name="scenes", kind="image_text", root="data/scenes/shards", scenes_root="data/scenes", pattern="test-*.tar"
)
captions = "aligned"
