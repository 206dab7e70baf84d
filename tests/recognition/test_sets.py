"""The published test sets: names, templates and layouts, and how folders find their classes."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
from mmengine.config import Config
from PIL import Image
from timm.data import ImageNetInfo

from backbones.towers import Towers
from datasets.captioned import CaptionedImages
from datasets.class_folders import folder_images, listed_images
from engine.errors import UserError
from recognition import retrieval, zero_shot
from recognition.naming import class_words
from study.configure import load_config
from tests.pretrain.samples import make_sample, write_tar

SETS = Path("recognition/sets")
# classes, templates and measure (FACTS of SLIP's and CLIP's published evaluations)
KNOWN = {
    "imagenet": (1000, "imagenet80", "top1"),
    "pets": (37, 1, "mean_per_class"),
    "cifar10": (10, 18, "top1"),
    "cifar100": (100, 18, "top1"),
    "dtd": (47, 8, "top1"),
    "stl10": (10, 2, "top1"),
    "food101": (101, 1, "top1"),
    "flowers102": (102, 1, "mean_per_class"),
    "fer2013": (7, 6, "top1"),
    "sun397": (397, 2, "top1"),
    "caltech101": (102, 34, "mean_per_class"),
}
# folders as their publishers call them -> what the prompts say
FOLDERS = {
    "cifar100": {"aquarium_fish": "aquarium fish", "pickup_truck": "pickup truck"},
    "flowers102": {"1": "pink primrose", "12": "colt's foot", "Black-Eyed_Susan": "black-eyed susan"},
    "fer2013": {"disgust": "disgusted", "happy": ("happy", "smiling"), "neutral": ("neutral", "bored")},
    "caltech101": {"Faces_easy": "centered face", "water_lilly": "water lilly", "BACKGROUND_Google": "background"},
    "pets": {"american_pit_bull_terrier": "american pit bull terrier", "British_Shorthair": "British Shorthair"},
}  # fmt: skip


def asked_of(name):
    (asked,) = Config.fromfile(SETS / f"{name}.py").questions.values()
    return asked.to_dict()


def ask(data, clip, **stated):
    """The measures of one question."""
    cfg = Config(dict(data=data, questions={"q": {"templates": ("a {}",), **stated}}))
    return zero_shot.run(cfg, Towers(clip[0])).measures


def test_all_sets_are_here():
    assert {path.stem for path in SETS.glob("*.py")} >= {*KNOWN}


@pytest.mark.parametrize("name", KNOWN)
def test_counts_and_measures(name, clip):
    classes, templates, primary = KNOWN[name]
    cfg = load_config("recognition/configs/zero_shot.py", checkpoint=str(clip[0]), data=str(SETS / f"{name}.py"))
    (asked,) = cfg.questions.values()
    assert cfg.data.name == name and cfg.primary == primary
    names = asked.get("classes")
    assert (len(names) if isinstance(names, tuple | list) else asked.get("count", 1000)) == classes
    if isinstance(templates, int):
        assert len(asked.templates) == len({*asked.templates}) == templates
        assert all(template.count("{}") == 1 for template in asked.templates)
        assert cfg.protocol == f"{name}-zero-shot-tiny-v1"
    else:
        assert asked.templates == templates and cfg.protocol == f"{name}-zero-shot-{templates}-tiny-v1"
    assert not {"of", "made", "templates", "names", "photos"} & {*cfg}, "helpers of the file are no settings"


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_as_published(name):
    asked = asked_of(name)
    chosen = FOLDERS[name]
    others = [c for c in asked["classes"] if c not in chosen.values()]
    folders = [*chosen, *(c if isinstance(c, str) else c[0] for c in others)]
    found = dict(zip(folders, class_words(folders, asked, "x"), strict=True))
    assert {folder: found[folder] for folder in chosen} == chosen


def test_flowers_by_number():
    asked = asked_of("flowers102")
    folders = sorted(str(number) for number in range(1, 103))  # 1, 10, 100, ...: the order of names on disk
    assert class_words(folders, asked, "x") == [asked["classes"][int(folder) - 1] for folder in folders]


def test_imagenet_by_wordnet_ids():
    folders = sorted(ImageNetInfo().label_names(), reverse=True)
    found = class_words(folders, asked_of("imagenet"), "x")
    assert found == [*open_clip.IMAGENET_CLASSNAMES][::-1], "ids in their order are the classes in theirs"
    assert found[-1] == "tench" and found[folders.index("n02134084")] == "polar bear"
    with pytest.raises(UserError, match="x has no folder for 'n01440764'"):
        class_words(folders[:-1], asked_of("imagenet"), "x")


def test_a_set_serves_the_other_tests_under_their_own_protocols(clip):
    found = {}
    for task in ("zero_shot", "knn", "linear_probe"):
        config = f"recognition/configs/{task}.py"
        found[task] = load_config(config, checkpoint=str(clip[0]), data=str(SETS / "imagenet.py")).protocol
    assert found == {
        "zero_shot": "imagenet-zero-shot-imagenet80-tiny-v1", "knn": "imagenet-knn-tiny-v1",
        "linear_probe": "imagenet-linear-probe-tiny-v1",
    }  # fmt: skip


def test_an_unknown_set_is_refused(clip):
    with pytest.raises(UserError, match="there is no config .*cifar11.py; did you mean cifar10.py"):
        load_config("recognition/configs/zero_shot.py", checkpoint=str(clip[0]), data=str(SETS / "cifar11.py"))


def test_names_of_folders_are_names_where_none_are_given():
    assert class_words(["a_b", "c/d_e"], {}, "x") == ["a b", "c d e"]
    with pytest.raises(UserError, match="x holds 2 class folders, not 3"):
        class_words(["a", "b"], {"count": 3}, "x")
    with pytest.raises(UserError, match="'a b' is given twice"):
        class_words(["a_b", "a b"], {}, "x")


def test_folders_that_do_not_match_are_named():
    asked = {"classes": ("cat", "hot dog"), "aliases": {"kitty": "cat"}}
    assert class_words(["Hot-Dog", "kitty"], asked, "x") == ["hot dog", "cat"]
    for folders, message in (
        (["cat", "dog"], "x: 'dog' stands for no class of the set"),
        (["cat"], "x has no folder for 'hot dog'"),
        (["cat", "kitty", "hotdog"], "x: 'cat', 'kitty' stand for one class"),
        ([*"abcdefg"], "'a', 'b', 'c', 'd', 'e' and 2 more stands"),
    ):
        with pytest.raises(UserError, match=message):
            class_words(folders, asked, "x")
    for changes, message in (
        ({"classes": ("cat", "cat")}, "'cat' is given twice"),
        ({"classes": "imagenet21k"}, "unknown classes 'imagenet21k'"),
        ({"aliases": {"a": "cow"}}, "alias 'a' stands for 'cow', which is none"),
    ):
        with pytest.raises(UserError, match=message):
            class_words(["cat", "hot dog"], {**asked, **changes}, "x")


def test_an_empty_class_folder_of_a_known_set_is_named(tmp_path, clip):
    data = {"kind": "image_folder", "root": tmp_path}
    for name in ("a", "b", ".hidden"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "a" / "1.png")
    for known in ({"classes": ("a", "b")}, {"count": 2}):
        with pytest.raises(UserError, match="class folder 'b' holds no image: complete the test set"):
            ask(data, clip, **known)
    (found, *_) = ask(data, clip)
    assert found.chance == 50, "of a folder of one's own, an empty class is one that may be guessed"


LISTS = {
    "dtd": ("labels/test1.txt", "banded/banded_0002.jpg", "images/banded/banded_0002.jpg", "banded"),
    "food101": ("meta/test.txt", "apple_pie/1011328", "images/apple_pie/1011328.jpg", "apple_pie"),
    "sun397": ("Testing_01.txt", "/a/apse/indoor/sun_x.jpg", "SUN397/a/apse/indoor/sun_x.jpg", "apse/indoor"),
    "pets": ("annotations/test.txt", "Egyptian_Mau_201 1 1 1", "images/Egyptian_Mau_201.jpg", "Egyptian_Mau"),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_as_published(name, tmp_path):
    data = Config.fromfile(SETS / f"{name}.py").data.to_dict() | {"root": tmp_path}
    file, line, image, label = LISTS[name]
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(f"# remark\n{line}\n\n")
    assert listed_images(data) == ([(tmp_path / image, 0)], [label])
    for text, message in (("", "it is empty"), ("nonsense\n", "'nonsense' does not fit")):
        (tmp_path / file).write_text(text)
        with pytest.raises(UserError, match=message):
            listed_images(data)
    (tmp_path / file).unlink()
    with pytest.raises(UserError, match="cannot be read .*check root and list"):
        listed_images(data)


def test_a_list_and_the_same_images_in_folders_are_one_test(tmp_path, clip):
    generator, lines = np.random.default_rng(0), []
    for number in range(6):
        name = ("red_cube", "blue_cone")[number % 2]
        (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (40, 48, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
        lines.append(f"{name}/{number}.png")
    (tmp_path / "list.txt").write_text("\n".join(sorted(lines)))
    by_list = {"kind": "image_list", "root": tmp_path, "list": "list.txt", "images": "images/{}"}
    by_folder = {"kind": "image_folder", "root": tmp_path / "images"}
    assert ask(by_list, clip, count=2) == ask(by_folder, clip, count=2)


@pytest.mark.parametrize("name", ["flickr30k", "coco_captions"])
def test_karpathy_splits_with_and_without_a_prefix(name, clip, tmp_path, monkeypatch):
    """Shards as tools/prepare.py writes them: five captions an image, each direction's right answers by hand."""
    config, file = "recognition/configs/retrieval.py", SETS / f"{name}.py"
    cfg = load_config(config, checkpoint=str(clip[0]), data=str(file))
    assert cfg.data.root.startswith("data/") and (cfg.protocol, cfg.prefix) == (
        f"{cfg.data.name}-retrieval-tiny-v1",
        "",
    )
    prefixed = load_config(config, checkpoint=str(clip[0]), data=str(file), options={"prefix": "a photo of"})
    assert prefixed.protocol == f"{cfg.data.name}-retrieval-a-photo-of-tiny-v1"
    assert prefixed.work_dir != cfg.work_dir
    monkeypatch.chdir(tmp_path)
    Path(cfg.data.root).mkdir(parents=True)
    samples = {k: make_sample(k) for k in range(4)}
    for k, sample in samples.items():
        captions = {"human": [f"{word} {k}" for word in ("sphere", "cube", "torus", "cone", "red", "sixth")]}
        sample["json"] = json.dumps({"captions": captions}).encode()
    write_tar(Path(cfg.data.root, "test-00000.tar"), samples)
    listed = CaptionedImages(cfg.data.root, cfg.data.pattern, cfg.captions)
    assert len(listed) == 4 and listed.owner == [k for k in range(4) for _ in range(5)]
    found = {m.name: m for m in retrieval.run(cfg, Towers(clip[0])).measures}
    assert found["image_to_text_R1"].chance == pytest.approx(25) and found["text_to_image_R1"].chance == 25
    assert found["text_to_image_R5"].value == 100


@pytest.mark.skipif(not Path("data/cifar10/test").is_dir(), reason="needs CIFAR-10 as folders of images")
def test_cifar10_as_it_is():
    listed, folders = folder_images("data/cifar10/test")
    assert len(listed) == 10_000 and class_words(folders, asked_of("cifar10"), "x") == folders
