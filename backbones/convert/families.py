"""What timm's names of weights tell: the family of the pretraining method, which tables group by, and its images."""

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

# Data sets as timm writes them in tags; what stands first was seen first.
DATA_OF_TAG = {
    "in1k": "ImageNet-1k", "in12k": "ImageNet-12k", "in21k": "ImageNet-21k", "in22k": "ImageNet-22k", "jft": "JFT-300M",
    "lvd142m": "LVD-142M", "lvd1689m": "LVD-1689M", "sat493m": "SAT-493M", "sa1b": "SA-1B", "webli": "WebLI",
    "openai": "WIT-400M", "laion400m": "LAION-400M", "laion2b": "LAION-2B", "datacompxl": "DataComp-1B",
    "dfn2b": "DFN-2B", "dfn5b": "DFN-5B", "merged2b": "Merged-2B", "merged38m": "Merged-38M", "yfcc15m": "YFCC-15M",
    "yfcc100m": "YFCC-100M", "cc12m": "CC12M",
}  # fmt: skip


def data_of(tag: str) -> str | None:
    """The data sets that a tag of timm's weights names, in order; None where it names none."""
    words = tag.rpartition(".")[2].split("_")
    return ", then ".join(dict.fromkeys(DATA_OF_TAG[word] for word in words if word in DATA_OF_TAG)) or None


def family_of(converted: Converted, tag: str = "") -> str:
    """The family of a converted checkpoint: of its method, or by what timm calls its weights."""
    if converted.family:
        return converted.family
    family = OF_METHOD.get(converted.method, converted.method)
    if family != UNKNOWN:
        return family
    return next((found for words, found in OF_TAG if re.search(words, tag)), UNKNOWN)
