"""Families of pretraining methods, for tables that put methods of one kind side by side."""

import re

from backbones.convert import Converted

UNKNOWN = "unknown"
OF_METHOD = {
    "datacompdr": "clip",
    "slip": "clip",
    "simclr": "contrastive",
    "moco_v3": "contrastive",
    "wsp": "supervised",
    "timm": UNKNOWN,
}
# Words in the name and tag of timm's weights -> family; the first that is found counts. An encoder that was fine-tuned
# with labels counts as supervised.
OF_TAG = (
    (r"ft_in|in1k_ft", "supervised"),
    (r"siglip|webli", "siglip"),
    (r"fcmae|mae|hiera", "mae"),
    (r"dino", "dino"),
    (r"openai|laion|datacomp|clip|dfn|meta_?clip|merged2b|fb_pe|yfcc", "clip"),
    (r"beit|mim|eva02_in22k", "mim"),
    (r"aim", "aim"),
    (r"sa1b|sam", "segmentation"),
    (r"in1k|in12k|in21k|in22k|jft|in_?net", "supervised"),
)


def family_of(converted: Converted, tag: str = "") -> str:
    """The family of a converted checkpoint: of its method, or by what timm calls its weights."""
    if converted.family:
        return converted.family
    family = OF_METHOD.get(converted.method, converted.method)
    if family != UNKNOWN:
        return family
    return next((found for words, found in OF_TAG if re.search(words, tag)), UNKNOWN)
