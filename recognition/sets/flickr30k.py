"""Flickr30K's 1 000 test images of Karpathy's split, with five captions each: retrieval in both directions.

    python tools/prepare.py flickr30k PATH/TO/FLICKR30K
    python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER --data recognition/sets/flickr30k.py

Captions as people wrote them. Behind the prompt of CLIP's paper, which is a protocol of its own:
--cfg-options "prefix=a photo of".
"""

data = dict(name="flickr30k", kind="image_text", root="data/flickr30k/shards", pattern="test-*.tar")
captions = "human"
