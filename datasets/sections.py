"""The `data` section of a configuration: what each kind of data states.

    data = dict(name="camvid", kind="seg", root="path/to/camvid", images="images/{split}", labels="annotations/{split}",
                classes=("sky", ...), ignore=(11,), size=(96, 128))

One dataclass for each kind holds its names, types, defaults and units; a name that is none of them is refused. A user's
own data set is such a section in a data overlay (README, "Your own data").
"""

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from engine.errors import UserError
from engine.names import did_you_mean

SPLITS = dict(train="train", val="val", test="test")
SPLIT_NAMES = ("train", "val", "test")
LACKING = "add it to its data section (README, 'Your own data')"


@dataclass(frozen=True, kw_only=True)
class Section:
    """What every kind states.

    Attributes:
        name: of the data set, in records and folders. kind: one of KINDS. root: its folder, from where the run starts.
        scenes_root: of the embedded scenes, rendered there on first use; a user's own data state none.
    """

    name: str
    kind: str
    root: str
    scenes_root: str | None = None


@dataclass(frozen=True, kw_only=True)
class Split(Section):
    """Kinds with folders or files for train, val and test.

    Attributes:
        splits: what these three are called, if not that; size: (height, width) in pixels of training crops and of test
            images.
    """

    splits: Mapping[str, str] = field(default_factory=dict)
    size: tuple[int, int]

    def named(self, split: str) -> str:
        """What the data set calls a split."""
        return {**SPLITS, **self.splits}[split]


@dataclass(frozen=True, kw_only=True)
class Labelled(Split):
    """Image and label folders of the same tree.

    Attributes:
        images, labels: below root, with {split} where it matters. image_suffix, label_suffix: endings of file names,
            where they differ by more than their extension ("_leftImg8bit.png").
    """

    images: str = "images/{split}"
    labels: str = "annotations/{split}"
    image_suffix: str | None = None
    label_suffix: str | None = None

    def folders(self, split: str) -> dict[str, Any]:
        """Arguments of a data set of one split, but for the labels."""
        named = {key: getattr(self, key) for key in ("image_suffix", "label_suffix") if getattr(self, key) is not None}
        return dict(data_root=self.root, images=self.images.format(split=self.named(split)), **named)


@dataclass(frozen=True, kw_only=True)
class Seg(Labelled):
    """Images and label maps.

    Attributes:
        classes: names in the order of their ids; palette: an RGB triple for each; ignore: further ids that count
            nowhere; reduce_zero_label: ids start at 1, and 0 is ignored.
    """

    classes: Sequence[str]
    palette: Sequence[Sequence[int]] | None = None
    ignore: Sequence[int] = ()
    reduce_zero_label: bool = False


@dataclass(frozen=True, kw_only=True)
class Depth(Labelled):
    """Images and 16-bit depth maps; 0 means not measured.

    Attributes:
        depth_scale: units of the files in a metre; max_depth: in metres, the largest that is learned and scored.
    """

    labels: str = "depth/{split}"
    depth_scale: float = 1000.0
    max_depth: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Coco(Split):
    """COCO JSON and image folders.

    Attributes:
        annotations, images: below root, with {split}. classes: names in the order of the file, by default all of the
            training file; palette: an RGB triple for each.
    """

    annotations: str = "annotations/instances_{split}.json"
    images: str = "{split}"
    classes: Sequence[str] | None = None
    palette: Sequence[Sequence[int]] | None = None


@dataclass(frozen=True, kw_only=True)
class Shards(Section):
    """Tar shards of image-text pairs. pattern: which files below root."""

    pattern: str = "*.tar"


@dataclass(frozen=True, kw_only=True)
class Folder(Section):
    """A folder for each class.

    Attributes:
        train, val, test: folders of class folders, for what is trained and tested on them; pretraining reads root.
        attribute: of the embedded scenes, by which their class folders are made. size: (height, width), square.
    """

    train: str | None = None
    val: str | None = None
    test: str | None = None
    attribute: str | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Dense(Section):
    """Images with labels of all kinds, for the oracle: the layout of the embedded scenes."""


@dataclass(frozen=True, kw_only=True)
class Attributes(Section):
    """Images with words for several questions. labels: a JSON file below root; split: of the scenes."""

    labels: str
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImageList(Section):
    """A publisher's list of images. list: a text file below root; images, label: see `listed_images`."""

    list: str
    images: str = "{}"
    label: str = r"(.+)/[^/]+"


KINDS = {"seg": Seg, "depth": Depth, "coco": Coco, "image_text": Shards, "image_folder": Folder, "dense": Dense,
         "attributes": Attributes, "image_list": ImageList}  # fmt: skip


def read_section(data: Any, source: str = "the config") -> Section:
    """A `data` section as its dataclass.

    Raises:
        UserError: no dict, an unknown kind, a name that the kind does not have, lacks, or of another type.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"the data section of {source} is {data!r}: write data = dict(name=..., kind=..., root=...)")
    name, kind = data.get("name"), data.get("kind")
    if kind not in KINDS:
        raise UserError(f"data set {name!r} is of kind {kind!r}{did_you_mean(kind, KINDS)}: choose {', '.join(KINDS)}")
    known = {f.name: f for f in fields(KINDS[kind])}
    for key, value in data.items():
        if key not in known:
            raise UserError(f"data set {name!r}: kind {kind!r} has no {key!r}{did_you_mean(key, known)}")
        hint = typing.get_type_hints(KINDS[kind])[key]
        if not fits(value, hint):
            raise UserError(f"data set {name!r}: {key!r} is {value!r}: give {wanted(hint)}")
    for key, known_field in known.items():
        if key not in data and known_field.default is MISSING and known_field.default_factory is MISSING:
            raise UserError(f"data set {name!r} has no {key!r}: {LACKING}")
    if strange := sorted({*data.get("splits", {})} - {*SPLIT_NAMES}):
        raise UserError(f"data set {name!r}: splits name {strange[0]!r}: they say what train, val and test are called")
    return KINDS[kind](**data)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a dataclass field's type; whole numbers serve as float."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return any(fits(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, list | tuple) and len(value) == len(arguments) and all(
            fits(one, kind) and one > 0 for one, kind in zip(value, arguments, strict=True)
        )  # fmt: skip
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(fits(one, arguments[0]) for one in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(isinstance(one, str) for pair in value.items() for one in pair)
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, hint)


def wanted(hint: Any) -> str:
    """A field's type in words."""
    words = {str: "a text", int: "a whole number", float: "a number", bool: "True or False", types.NoneType: "None"}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return " or ".join(wanted(one) for one in arguments)
    if origin is tuple:
        return "(height, width) in pixels"
    if origin is Mapping:
        return "a dict of texts"
    return f"a list, each {wanted(arguments[0])}" if origin is Sequence else words[hint]
