"""Retrieval between the held-out scenes and their aligned captions, in both directions.

COMMAND   python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER
COST      half a minute of one core
EXPECTED  encoders of image-text pretraining are far above the printed chance; one without a text tower is refused
"""

task = "retrieval"
head = "retrieval"
primary = "image_to_text_R1"
data = dict(
    name="scenes", kind="image_text", root="data/scenes/shards", scenes_root="data/scenes", pattern="test-*.tar"
)
captions = "aligned"
prefix = ""  # before each caption, such as "a photo of": a protocol of its own
at_scale = dict(
    study=dict(data=dict(root="data/scenes-study/shards", scenes_root="data/scenes-study")),
    paper=dict(
        data=dict(
            _delete_=True, name="flickr30k", kind="image_text", root="data/flickr30k/shards", pattern="test-*.tar"
        ),
        captions="human",
    ),
)
