"""Retrieval between the held-out scenes and their aligned captions, in both directions.

COMMAND   python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER
COST      half a minute of one core
EXPECTED  encoders of image-text pretraining are far above the printed chance; one without a text tower is refused
"""

task = "retrieval"
data = dict(
    name="scenes", kind="image_text", root="data/scenes/shards", scenes_root="data/scenes", pattern="test-*.tar"
)
captions = "aligned"
