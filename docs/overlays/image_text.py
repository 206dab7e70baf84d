"""Image-text pairs in tar shards, as WebDataset and img2dataset write them: an image with KEY.txt, KEY.json or both.

    python tools/train.py pretrain/configs/maskclip.py --data docs/overlays/image_text.py

The caption "noisy" is KEY.txt (or "caption" in KEY.json). Others stand by name in the "captions" of KEY.json:
`--cfg-options captions=NAME`. The text tower keeps the tokens that occur in the captions and cuts texts to the context.
"""

data = dict(name="web", kind="image_text", root="data/web", pattern="*.tar")
# Everything else of a config can be stated here too. Image size, in two places:
model = dict(encoder=dict(kwargs=dict(img_size=96)))
train_dataloader = dict(dataset=dict(size=96))
# A longer text: model.text.context and train_dataloader.dataset.context; all of CLIP's tokens: model.text.vocabulary.
