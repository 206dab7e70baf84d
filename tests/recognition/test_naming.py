"""How folders find their classes: signs are part of a name, ways of writing it are not."""

import unicodedata
from pathlib import Path

import pytest
from mmengine.config import Config

from engine.errors import UserError
from recognition.naming import class_words

SETS = {path.stem: next(iter(Config.fromfile(path).questions.values())).to_dict()
        for path in sorted(Path("recognition/sets").glob("*.py")) if "questions" in path.read_text()}  # fmt: skip
LISTED = [name for name, asked in SETS.items() if isinstance(asked.get("classes"), list | tuple)]
WRITTEN = {
    "underscores": lambda name: name.replace(" ", "_"),
    "hyphens": lambda name: name.replace(" ", "-"),
    "together": lambda name: name.replace(" ", "").replace("-", ""),
    "capitals": str.upper,
    "titles": lambda name: name.title().replace(" ", "_"),
    "bare": lambda name: "".join(c for c in name if c not in "'(),."),
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", LISTED)
def test_the_published_sets_are_found_however_written(name, written):
    asked = SETS[name]
    firsts = [c if isinstance(c, str) else c[0] for c in asked["classes"]]
    folders = [WRITTEN[written](one) for one in firsts]
    assert folders != firsts or written in ("together", "bare", "underscores", "hyphens")
    assert class_words(folders, asked, "x") == list(asked["classes"])


def test_all_published_sets_of_names_are_covered():
    assert len(LISTED) >= 7


@pytest.mark.parametrize("classes", [
    ["C", "C++", "C#"], ["A", "A+", "A-"], ["F", "F#", "F*"], ["100", "100%"], ["c", "C"], ["co-op", "coop"],
    [":)", ":("], ["x<y", "x>y"], ["über", "uber"], ["猫", "犬"], ["a&b", "a b"],
])  # fmt: skip
def test_signs_and_letters_tell_classes_apart(classes):
    for folders in (classes, classes[::-1]):
        assert class_words(folders, {"classes": classes}, "x") == folders
        asked = {
            "classes": [f"class {k}" for k in range(len(classes))],
            "aliases": {name: f"class {k}" for k, name in enumerate(classes)},
        }
        assert class_words(folders, asked, "x") == [f"class {classes.index(folder)}" for folder in folders]
        assert class_words(folders, {}, "x") == folders


def test_a_name_of_several_classes_is_of_none():
    for classes, folder in ((["co-op", "coop"], "Co_op"), (["C", "c"], "C."), (["C", "D"], "C++"), (["A-", "B"], "A")):
        with pytest.raises(UserError, match=f"x: {folder!r} stands for no class of the set".replace("+", "[+]")):
            class_words([folder, classes[1]], {"classes": classes}, "x")


def test_letters_are_compared_as_composed():
    name = "crème brûlée"
    folder = unicodedata.normalize("NFD", name.replace(" ", "_"))
    assert folder != name.replace(" ", "_") and class_words([folder, "b"], {"classes": [name, "b"]}, "x") == [name, "b"]


def test_a_part_of_imagenet():
    asked = {"classes": "imagenet", "count": 2}
    assert class_words(["n01443537", "n01629819"], asked, "x") == ["goldfish", "fire salamander"]
    with pytest.raises(UserError, match="holds 1 class folders, not 2"):
        class_words(["n01443537"], asked, "x")
    with pytest.raises(UserError, match="'n0' stands for no class"):
        class_words(["n01443537", "n0"], asked, "x")
    with pytest.raises(UserError, match="no folder for"):
        class_words(["n01443537", "n01629819"], {"classes": "imagenet"}, "x")
