"""COCO's 5 000 test images of Karpathy's split, with their first five captions: retrieval in both directions.

    python tools/prepare.py coco-captions PATH/TO/COCO
    python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER --data recognition/sets/coco_captions.py

Of the 25 010 captions 25 000 are used, the first five of each image, as people wrote them. Behind the prompt of CLIP's
paper, which is a protocol of its own: --cfg-options "prefix=a photo of".
"""

data = dict(name="coco-captions", kind="image_text", root="data/coco-captions/shards", pattern="test-*.tar")
captions = "human"
