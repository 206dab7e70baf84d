"""Complete a pretraining config from its data: data set class, vocabulary, number of classes, corrupt samples' log."""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS

from backbones.text import compact_vocabulary
from engine.config import DATA
from engine.errors import UserError
from pretrain.base import PretrainMethod
from pretrain.data.captions import shard_vocabulary
from pretrain.data.dataset import ImageFolder
from pretrain.data.eda import synonyms
from pretrain.data.reinforcement import teacher_widths
from pretrain.data.tags import tag_vocabulary
from pretrain.tokenizer.cache import fill_token_cache
from pretrain.tokenizer.training import fill_tokenizer

DATASETS_OF_KIND = {"image_text": "ImageTextShards", "image_folder": "ImageFolder", "dense": "DenseFolder"}
# By the first part of a name: "image_local" is a view of the image, "tokens_edited" a text.
OFFERS = {"image_text": {"image", "pixels", "tokens", "tags"}, "image_folder": {"image", "pixels", "label"},
          "dense": {"image", "seg", "depth"}}  # fmt: skip


def method_class(name: str) -> type[PretrainMethod]:
    """The method class registered as `name`; UserError with the known ones otherwise."""
    found = MODELS.get(name)
    if not isinstance(found, type) or not issubclass(found, PretrainMethod):
        classes = [c for c in MODELS.module_dict.values() if isinstance(c, type) and issubclass(c, PretrainMethod)]
        known = sorted(c.__name__ for c in classes)
        raise UserError(f"unknown pretraining method model.type={name!r}: choose one of {', '.join(known)}")
    return found


def fitting_kinds(method: type[PretrainMethod]) -> list[str]:
    """The kinds of data that offer what a method learns from."""
    needs = {name.split("_")[0] for name in method.needs}
    return [kind for kind, offered in OFFERS.items() if needs <= offered]


def fill(cfg: Config) -> None:
    """Fill the values of `cfg` that only the data can tell; call it once the data exist, before the runner is built.

    The mark "<data>" becomes, as `model.text.vocabulary`, the list of token ids in the captions; as
    `model.num_classes`, the number of class folders, or of tags in the shards. `model.teacher_widths = None`
    becomes those of the reinforcement; `model.tokenizer` of type "dvae" gets its file, trained first where there is
    none, and `token_cache = True` of the data set too.

    Raises:
        UserError: unknown method, data that do not offer what the method learns from, or a row of tokens that is longer
            than the text tower's.
    """
    data, dataset = cfg.data, cfg.train_dataloader.dataset
    method = method_class(cfg.model.type)
    if missing := sorted(name for name in method.needs if name.split("_")[0] not in OFFERS[data.kind]):
        raise UserError(
            f"{cfg.method} learns from {' and '.join(missing)}, which data set {data.name!r} of kind {data.kind!r} "
            f"does not offer: give it data of kind {' or '.join(fitting_kinds(method))}"
        )
    views = {"image"} if dataset.get("transform") else {*dataset.get("views", ("image",))}
    if unseen := sorted(name for name in method.needs if name.startswith("image") and name not in views):
        raise UserError(
            f"{cfg.method} learns from {' and '.join(unseen)}, but the data set shows {' and '.join(sorted(views))}: "
            "add these views to train_dataloader.dataset.views, and leave `transform` out"
        )
    dataset.type = DATASETS_OF_KIND[data.kind]
    dataset.name = data.name
    dataset.corrupt_log = str(Path(cfg.work_dir, "corrupt_samples.txt"))
    fill_captions(cfg, method)
    if cfg.model.get("text", {}).get("vocabulary") == DATA:
        cfg.model.text.vocabulary = shard_vocabulary(dataset.root, dataset.pattern)
        if any(text.get("eda") for text in dataset.get("texts", {}).values()):
            # an edit writes words that no caption holds; as unknown tokens they would be masks, not synonyms
            cfg.model.text.vocabulary = compact_vocabulary(synonyms(), cfg.model.text.vocabulary)
    if "text" in cfg.model and (longest := dataset.get("context", 77)) > (context := cfg.model.text.get("context", 77)):
        raise UserError(
            f"train_dataloader.dataset.context {longest} is more than model.text.context {context}: set both alike"
        )
    if "teacher_widths" in cfg.model and cfg.model.teacher_widths is None and dataset.get("reinforcement"):
        cfg.model.teacher_widths = teacher_widths(dataset.reinforcement)
    if "num_classes" in cfg.model and cfg.model.num_classes == DATA:
        cfg.model.num_classes = count_classes(dataset)
    fill_tokenizer(cfg.model, dataset)
    fill_token_cache(cfg.model, dataset)


def fill_captions(cfg: Config, method: type[PretrainMethod]) -> None:
    """What the data set says of shards and captions, or nothing where the data or the method have none."""
    dataset = cfg.train_dataloader.dataset
    if not any(name.startswith(("tokens", "tags")) for name in method.needs):
        cfg.captions = dataset.captions = None  # an overlay may state them for all methods
    if cfg.data.kind == "image_text":
        dataset.pattern = cfg.data.get("pattern", "*.tar")
    else:
        for key in ("captions", "context", "pattern", "texts", "tags"):
            dataset.pop(key, None)


def count_classes(dataset: Config) -> int:
    """Number of tags of image-text shards, of folders elsewhere."""
    if dataset.type == "ImageTextShards":
        return len(tag_vocabulary(dataset.root, dataset.pattern, dataset.get("captions"), dataset.tags.min_count))
    return len(ImageFolder.scan(Path(dataset.root))[0])
