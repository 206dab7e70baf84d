"""Compact vocabularies: texts that a tower reads alike are refused or told, by the words that it does not know."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image

from backbones import save_checkpoint
from backbones.text import compact_vocabulary, tokenizer
from backbones.towers import Towers
from engine.errors import UserError
from recognition import retrieval, zero_shot
from recognition.vocabulary import check_read
from tests.checkpoints import META
from tests.pretrain.samples import ENCODER, TEXT, make_sample, write_tar


@pytest.fixture(scope="module")
def towers_of(tmp_path_factory):
    """`towers_of(captions)`: towers of random weights whose vocabulary is that of the captions, or "clip"."""

    def make(captions):
        torch.manual_seed(0)
        words = captions if captions == "clip" else compact_vocabulary(captions)
        model = MODELS.build(dict(type="CLIP", encoder=ENCODER, text={**TEXT, "vocabulary": words})).eval()
        meta = {**META, **model.checkpoint_meta()}
        meta["image"]["size"] = 32
        folder = tmp_path_factory.mktemp("towers") / "checkpoint"
        save_checkpoint(folder, model.encoder, meta, model.text_state())
        return Towers(folder)

    return make


@pytest.fixture
def folders(tmp_path):
    """`folders(*names)`: a test set with an image for each class."""

    def make(*names):
        for k, name in enumerate(names):
            (tmp_path / name).mkdir()
            Image.new("RGB", (32, 32), (40 * k, 0, 0)).save(tmp_path / name / "1.png")
        return Config(
            dict(
                data=dict(kind="image_folder", root=str(tmp_path)),
                questions=dict(q=dict(templates=["a photo of a {}"])),
            )
        )

    return make


def test_what_is_read_is_what_the_lookup_keeps(towers_of):
    towers = towers_of(["a photo of a red cube"])
    texts = ["a red cube", "a red torus", "a red cone", "a photo of a cube", "Cube  RED", "a " * 40 + "red"]
    readings = towers.read(texts)
    shown = [" ".join(tokenizer().decoder[t].removesuffix("</w>") for t in reading) for reading in readings]
    assert shown[:5] == ["a red cube", "a red", "a red", "a photo of a cube", "cube red"]
    assert readings[5] == readings[0][:1] * (towers.model.text.context - 2), "what lies beyond the context is not read"
    assert towers.unknown_words(texts) == ["torus", "cone"]
    everything = towers_of("clip")
    assert everything.unknown_words(texts) == [] and len({*everything.read(texts)}) == 6


def test_classes_outside_the_vocabulary_are_refused(towers_of, folders):
    cfg = folders("capybara", "quokka", "wombat")
    message = "question 'q': to the text tower 'capybara', 'quokka', 'wombat' are one text, since it does not know "
    with pytest.raises(UserError, match=message + "'capybara', 'quokka', 'wombat': ask in words"):
        zero_shot.run(cfg, towers_of(["a photo of a red cube"]))
    assert zero_shot.run(cfg, towers_of("clip")).measures


def test_some_classes_outside_the_vocabulary_are_said(towers_of, folders, capsys):
    cfg = folders("cube", "fire truck", "quokka", "truck")
    towers = towers_of(["a photo of a cube and a truck"])
    assert zero_shot.run(cfg, towers).measures
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert line == ("warning: question 'q': by the text tower 2 of 4 texts are not told apart from another "
                    "('fire truck', 'truck'), since it does not know 'fire'")  # fmt: skip
    check_read(towers, {"cube": ["a cube"], "truck": ["a truck"]}, "q")
    assert capsys.readouterr().err == ""


def test_names_beyond_the_context_are_refused(towers_of):
    towers = towers_of("clip")
    asked = {name: ["a very " + "very " * 40 + name] for name in ("cat", "dog")}
    with pytest.raises(UserError, match="'cat', 'dog' are one text, since they differ in nothing that it reads"):
        check_read(towers, asked, "question 'q'")


def test_captions_outside_the_vocabulary_are_refused(towers_of, tmp_path, capsys):
    write_tar(tmp_path / "test-0.tar", {k: make_sample(k) for k in range(4)})
    cfg = Config(dict(data=dict(kind="image_text", root=str(tmp_path), pattern="*.tar"), captions="aligned", prefix=""))
    with pytest.raises(UserError, match="are one text, since it does not know"):
        retrieval.run(cfg, towers_of(["quokka"]))
    assert retrieval.run(cfg, towers_of("clip")).measures and "warning" not in capsys.readouterr().err
