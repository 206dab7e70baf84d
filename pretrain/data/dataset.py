"""Image-text shards and image folders behind one interface.

An item is {"image": uint8 [3, size, size], "index": int} with "tokens" int64 [context] where captions are asked for and
"label" int where there is one. Methods that compare pictures or texts ask for more by `views` and `texts`. Augmentation
draws from numpy's global generator, which the data order seeds for each (seed, epoch, index), so an item does not
depend on the process that makes it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS, FUNCTIONS
from PIL import Image
from torch.utils.data import Dataset

from backbones.text import END, tokenize, valid_tokens
from datasets.class_folders import images_in, subfolders
from datasets.images import IMAGE_SUFFIXES, CorruptSample, decode_image
from datasets.labelled_files import LabelledFiles
from datasets.shards import ShardReader, listed_tags, load_index, read_captions
from engine.errors import UserError, printable
from engine.files import append_text
from pretrain.data.augment import ColourJitter, View, Window
from pretrain.data.captions import check_captions, draw_text
from pretrain.data.eda import edit
from pretrain.data.reinforcement import Reinforcement
from pretrain.data.tags import Tagger, caption_tags


class PretrainDataset(Dataset):
    """What the data sets share: cropping, and the treatment of corrupt samples.

    A corrupt sample is replaced by the next good index under the same random state and named in `corrupt_log`; the run
    ends once such samples are more than `max_corrupt` of all.

    Args:
        size: side of the images in pixels.
        views: the item's pictures, name -> arguments of `augment.View` (scale, ratio, flip, colour, count, size). A
            view with of=NAME shows the same window as that one, which stands before it. Names begin with "image" (then
            the model normalises them) or "pixels" (left as they are).
        colour: arguments of `augment.ColourJitter` for the whole image, before any view is cut from it: all views show
            the same colours, as in BEiT, where a view's own `colour` would be drawn for that view alone.
        interpolation: of all views that state none, see `augment.RandomCrop`.
        name: the data's name in checkpoints.
        corrupt_log: file that lists corrupt samples; `pretrain.fill` puts it into the run's folder.
        max_corrupt: largest share of corrupt samples.
        token_cache: a file of `pretrain.tokenizer.cache`, for items with "ids", int64 [N], in place of "pixels"; in a
            config True, which `pretrain.fill` replaces by the file.
    """

    def __init__(
        self,
        size: int,
        views: dict[str, dict[str, Any]] | None = None,
        colour: dict[str, Any] | None = None,
        interpolation: str | None = None,
        name: str = "scenes",
        corrupt_log: str | None = None,
        max_corrupt: float = 0.001,
        token_cache: str | None = None,
    ) -> None:
        self.size, self.name = size, name
        self.views, self.same_window = {}, {}
        for view, arguments in (views or {"image": {}}).items():
            arguments = {"size": size, "interpolation": interpolation, **arguments}
            self.same_window[view] = arguments.pop("of", None)
            self.views[view] = View(**arguments)
        self.colour = ColourJitter(**colour) if colour is not None else None
        self.token_cache = np.load(token_cache, mmap_mode="r") if token_cache else None  # [n, N]
        if token_cache:
            self.views.pop("pixels", None)
        self.corrupt_log = Path(corrupt_log) if corrupt_log else None
        self.max_corrupt = max_corrupt
        self.corrupt: dict[int, str] = {}

    def load(self, index: int) -> dict[str, Any]:
        """Make item `index`; raise CorruptSample if its bytes cannot be used."""
        raise NotImplementedError

    def where(self, index: int) -> str:
        """Where sample `index` lies, for messages."""
        raise NotImplementedError

    def pictures(self, image: np.ndarray, windows: dict[str, Window] | None = None) -> dict[str, torch.Tensor]:
        """[H, W, 3] -> all views; `windows` holds those that are not to be drawn."""
        made, windows = {}, dict(windows or {})
        image = image if self.colour is None else self.colour(image)
        for name, view in self.views.items():
            shown = name if name in windows else self.same_window[name]
            if shown is None:
                made[name], windows[name] = view(image)
            else:
                made[name] = view.at(image, windows[shown])
        return made

    def __getitem__(self, index: int) -> dict[str, Any]:
        # A corrupt sample is tried again whenever it is asked for: what it draws before it fails, and whether it fails
        # at all (of captions "a+b" it may lack one), is a function of the address and not of what was seen before.
        for candidate in range(index, index + len(self)):
            candidate %= len(self)
            try:
                item = self.load(candidate)
                if self.token_cache is not None:
                    item["ids"] = torch.from_numpy(self.token_cache[candidate].astype(np.int64))
                return item
            except CorruptSample as error:
                if candidate not in self.corrupt:
                    self.note_corrupt(candidate, str(error))
        raise UserError(f"every sample of the data set {self.name} is corrupt, first {self.where(0)}")

    def note_corrupt(self, index: int, reason: str) -> None:
        """Remember and name a corrupt sample; UserError once there are too many, those of other workers included."""
        self.corrupt[index] = printable(self.where(index))
        logged = set()
        if self.corrupt_log is not None:
            if self.corrupt_log.is_file():
                logged = {line.partition("\t")[0] for line in self.corrupt_log.read_text().splitlines()}
            if self.corrupt[index] not in logged:
                self.corrupt_log.parent.mkdir(parents=True, exist_ok=True)
                # one short write: whole lines, whoever appends
                append_text(self.corrupt_log, f"{self.corrupt[index]}\t{reason}\n")
        named = logged | set(self.corrupt.values())
        if len(named) > self.max_corrupt * len(self):
            raise UserError(
                f"{len(named)} of {len(self)} samples are corrupt, more than {self.max_corrupt:.1%}; the last is "
                f"{self.where(index)} ({reason}), all are in {self.corrupt_log}: repair the data, or raise "
                "train_dataloader.dataset.max_corrupt"
            )


@DATASETS.register_module()
class ImageTextShards(PretrainDataset):
    """Random access into WebDataset / img2dataset tar shards (KEY.png|jpg|webp with KEY.txt and/or KEY.json).

    Args:
        root: folder of .tar files; pattern: which of them.
        captions: which caption: "noisy" or "txt" (the alt text of KEY.txt) or a name in the JSON's "captions", such as
            "aligned", "rewritten", "enriched"; "a+b" draws one of several for each sample, uniformly (LaCLIP), and so
            does a name that stands for a list of texts; None for images only.
        context: length of the token rows.
        texts: the item's texts, name (beginning with "tokens") -> {"captions": as above, "eda": True for one edit of
            `eda.edit`}; by default {"tokens": {}}. The captions are those above unless stated. Texts of the same
            captions show the same draw; none are read where texts is empty.
        tags: arguments of `tags.Tagger` (min_count, width), for items with "tags", int64 [width] padded with
            -1: the JSON's "tags", or the words of the chosen caption where there is no such list.
        reinforcement: folder of `tools/reinforce.py`: "image" is then one of the stored crops, and the item has what
            the teachers make of it, "teacher_image" and a "teacher_text..." for each text, float16 [sum of widths].
        size, views, colour, interpolation, name, corrupt_log, max_corrupt: see PretrainDataset.
    """

    def __init__(
        self,
        root: str,
        size: int,
        captions: str | None = None,
        context: int = 77,
        pattern: str = "*.tar",
        texts: dict[str, dict[str, Any]] | None = None,
        tags: dict[str, int] | None = None,
        reinforcement: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(size, **kwargs)
        self.reader = ShardReader(load_index(root, pattern))
        self.context = context
        texts = ({"tokens": {}} if texts is None else texts) if captions is not None else {}
        self.texts = {name: (text.get("captions") or captions, text.get("eda", False)) for name, text in texts.items()}
        self.captions = captions
        chosen = [kinds for kinds, _ in self.texts.values()] + [captions] * (tags is not None)
        check_captions(self.reader, [kinds for kinds in chosen if kinds], self.max_corrupt)
        self.tagger = Tagger(root, pattern, captions, **tags) if tags is not None else None
        self.reinforcement = None
        if reinforcement is not None:
            if self.colour is not None:
                raise UserError(
                    "train_dataloader.dataset has both reinforcement and colour, but the teachers saw the stored crops "
                    "in their own colours: leave colour out"
                )
            self.reinforcement = Reinforcement(reinforcement, self.reader.index.shards, self.texts, self.views)

    def __len__(self) -> int:
        return len(self.reader)

    def where(self, index: int) -> str:
        """Shard and key."""
        return self.reader.name(index)

    def load(self, index: int) -> dict[str, Any]:
        """Read, decode, crop, tokenize."""
        image = decode_image(self.reader.read(index, 0))
        item: dict[str, Any] = {"index": index}
        chosen, windows = {}, {}
        if self.texts or self.tagger:
            rows, chosen = self.tokens(index)
            item |= rows
        if self.reinforcement is not None:
            windows["image"], stored = self.reinforcement.draw(index, chosen)
            item |= stored
        return {**item, **self.pictures(image, windows)}

    def tokens(self, index: int) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        """The token rows of a sample's texts, and its tags; and which of its candidates each text shows."""
        record = self.reader.read(index, 2)
        found, listed = read_captions(self.reader.read(index, 1), record), listed_tags(record)
        drawn: dict[str, tuple[str, int]] = {}
        made, chosen = {}, {}
        for name, (captions, eda) in self.texts.items():
            if captions not in drawn:
                drawn[captions] = draw_text(found, captions)
            caption, chosen[name] = drawn[captions]
            caption = edit(caption) if eda else caption
            made[name] = torch.from_numpy(tokenize(caption, self.context))
        if self.tagger is not None:
            if listed is None and self.captions not in drawn:
                drawn[self.captions] = draw_text(found, self.captions)
            tags = caption_tags(drawn[self.captions][0]) if listed is None else listed
            made["tags"] = torch.from_numpy(self.tagger.row(tags))
        return made, chosen


@DATASETS.register_module()
class ImageFolder(PretrainDataset):
    """A folder per class; classes sorted by name are labels 0, 1, ...

    Args:
        root: folder of class folders.
        transform: optional arguments of `timm.data.create_transform` (RandAugment, random erasing) instead of the crop.
        size, views, colour, interpolation, name, corrupt_log, max_corrupt: see PretrainDataset.
    """

    def __init__(self, root: str, size: int, transform: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(size, **kwargs)
        self.classes, self.files = self.scan(Path(root))
        self.transform: Callable | None = None
        if transform is not None:
            if self.colour is not None:
                raise UserError(
                    "train_dataloader.dataset has both transform and colour: leave one out, a transform has colours of "
                    "its own"
                )
            from timm.data import create_transform

            self.transform = create_transform(size, is_training=True, normalize=False, **transform)

    @staticmethod
    def scan(root: Path) -> tuple[list[str], LabelledFiles]:
        """Class names and (path, label) of every image, sorted."""
        classes = subfolders(root)
        files = LabelledFiles((path, k) for k, name in enumerate(classes) for path in images_in(root / name))
        if not files:
            raise UserError(f"no image of type {', '.join(IMAGE_SUFFIXES)} in the class folders of {root}")
        return classes, files

    def __len__(self) -> int:
        return len(self.files)

    def where(self, index: int) -> str:
        """The file."""
        return self.files[index][0]

    def load(self, index: int) -> dict[str, Any]:
        """Read, decode, augment."""
        path, label = self.files[index]
        try:
            image = decode_image(Path(path).read_bytes())
        except OSError as error:
            raise CorruptSample(error.strerror) from None
        item: dict[str, Any] = {"index": index, "label": label}
        if self.transform is None:
            item |= self.pictures(image)
        else:
            item["image"] = self.transform(Image.fromarray(image))
        return item


@FUNCTIONS.register_module()
def pretrain_collate(items: list[dict[str, Any]], packed: bool = False) -> dict[str, dict[str, torch.Tensor]]:
    """Stack items into {"inputs": {...}}; each text [B, context] is cut to the longest caption of the batch, [B, T].

    With `packed`, "valid_tokens" [R] beside "tokens" (and so for the other texts) holds the places b * T + t that are
    not padding. Both happen here, on the host, so that the model never has to ask the device for a length.
    """
    batch = {}
    for key, first in items[0].items():
        values = [item[key] for item in items]
        batch[key] = torch.stack(values) if isinstance(first, torch.Tensor) else torch.tensor(values)
    for name in [name for name in batch if name.startswith("tokens")]:
        longest = int((batch[name] == END).int().argmax(dim=1).max()) + 1
        batch[name] = batch[name][:, :longest].contiguous()
        if packed:
            batch[f"valid_{name}"] = valid_tokens(batch[name]).flatten().nonzero().flatten()
    return {"inputs": batch}
