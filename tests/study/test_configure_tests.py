"""Configurations of image-level tests: where their runs go, what makes a protocol, and what is refused."""

import shutil
from pathlib import Path

import pytest

from engine.errors import UserError
from study.configure import load_config

CONFIGS = {task: f"recognition/configs/{task}.py" for task in ("zero_shot", "retrieval", "knn")}


@pytest.fixture
def overlay(tmp_path):
    """`overlay("data = ...")`: the path of a file with that text."""

    def make(text):
        (tmp_path / "overlay.py").write_text(text)
        return str(tmp_path / "overlay.py")

    return make


def test_places_and_protocols_on_the_scenes(clip):
    folder = str(clip[0])
    cfg = load_config(CONFIGS["zero_shot"], checkpoint=folder)
    assert (cfg.protocol, cfg.head, cfg.method) == ("scenes-zero-shot-tiny-v1", "zero-shot", "clip")
    assert cfg.work_dir.startswith("runs/tiny/zero_shot/clip/seed0-"), "not the method's own checkpoint"
    assert (
        cfg.work_dir
        != load_config(CONFIGS["zero_shot"], checkpoint=folder, options={"primary": "mean_per_class"}).work_dir
    )
    prefixed = load_config(CONFIGS["retrieval"], checkpoint=folder, options={"prefix": "a photo of"})
    assert prefixed.protocol == "scenes-retrieval-a-photo-of-tiny-v1"
    assert load_config(CONFIGS["retrieval"], checkpoint=folder).protocol == "scenes-retrieval-tiny-v1"
    cfg = load_config(CONFIGS["knn"], checkpoint=folder, scale="study", options={"neighbours": 5}, work_dir="x/y")
    assert (cfg.head, cfg.work_dir, cfg.data.train) == ("5-NN", "x/y", "data/scenes-study/classes/colour/pretrain")
    assert cfg.protocol == "scenes-knn-colour-study-v1", "what is asked is part of the protocol"


@pytest.mark.parametrize("task", CONFIGS)
def test_the_study_has_scenes_of_its_own(task, clip):
    tiny, study = (
        load_config(CONFIGS[task], checkpoint=str(clip[0]), scale=scale).data.to_dict() for scale in ("tiny", "study")
    )
    for key, value in tiny.items():
        wanted = value.replace("data/scenes", "data/scenes-study") if value.startswith("data/") else value
        assert study[key] == wanted
    assert tiny != study


def test_the_published_sets_of_scale_paper(clip):
    zero_shot, retrieval, knn = (load_config(CONFIGS[task], checkpoint=str(clip[0]), scale="paper") for task in CONFIGS)
    assert zero_shot.protocol == "imagenet-zero-shot-imagenet80-paper-v1" and [*zero_shot.questions] == ["object"]
    assert zero_shot.data.to_dict() == {"name": "imagenet", "kind": "image_folder", "root": "data/imagenet/val"}
    assert (retrieval.protocol, retrieval.captions) == ("flickr30k-retrieval-paper-v1", "human")
    assert (knn.protocol, knn.data.train) == ("imagenet-knn-paper-v1", "data/imagenet/train")
    assert "attribute" not in knn.data and "val" not in knn.data, "nothing of the scenes is left"
    assert zero_shot.work_dir.startswith("runs/paper/zero_shot/clip/seed0")


def test_the_methods_own_checkpoint_is_the_studys_cell(clip, tmp_path, monkeypatch):
    own = Path("runs/tiny/pretrain/clip/seed2/checkpoint")
    shutil.copytree(clip[0], tmp_path / own)
    (tmp_path / "recognition").symlink_to(Path("recognition").resolve())
    monkeypatch.chdir(tmp_path)
    for task, path in CONFIGS.items():
        for checkpoint in (own, tmp_path / own):  # whether a person writes it in full or not
            assert load_config(path, checkpoint=str(checkpoint), seed=2).work_dir == f"runs/tiny/{task}/clip/seed2"
        assert load_config(path, checkpoint=str(own), seed=1).work_dir.startswith(f"runs/tiny/{task}/clip/seed1-")
    other = Path("runs/tiny-pets/pretrain/clip/seed0/checkpoint")
    shutil.copytree(clip[0], other)
    Path("pets.py").write_text('data = dict(name="pets", kind="image_folder", root=".", train=".", test=".")')
    assert (
        load_config(CONFIGS["knn"], checkpoint=str(other), data="pets.py").work_dir == "runs/tiny-pets/knn/clip/seed0"
    )


def test_an_overlay_replaces_and_names_the_run(clip, overlay):
    data = overlay(
        'data = dict(name="pets", kind="image_folder", root="data/pets")\n'
        'questions = dict(breed=dict(templates="imagenet7"))\nprimary = "mean_per_class"\n'
    )
    cfg = load_config(CONFIGS["zero_shot"], checkpoint=str(clip[0]), data=data)
    assert [*cfg.questions] == ["breed"] and cfg.primary == "mean_per_class"
    assert cfg.work_dir.startswith("runs/tiny-pets/zero_shot/clip/seed0")
    assert cfg.protocol == "pets-zero-shot-imagenet7-tiny-v1"


def test_what_is_refused(clip, overlay, tmp_path):
    folder = str(clip[0])
    for arguments, message in (
        (dict(path=CONFIGS["knn"], scale="huge"), "has no scale 'huge': choose one of .*study, tiny"),
        (dict(path=CONFIGS["knn"], checkpoint=tmp_path / "none"), "none does not exist"),
        (dict(path=CONFIGS["knn"], data=overlay('data = dict(name="a", kind="image_folder", root=".")')), "no 'train'"),
    ):
        with pytest.raises(UserError, match=message):
            load_config(**{"checkpoint": folder, **arguments})
    folders = "data = dict(name='a', kind='image_folder', root='.', train='.', test='.')\n"
    recipe = folders + "probe = dict(_delete_=True, kind='linear', lr=1.0)"
    with pytest.raises(UserError, match="probe has no 'optimizer': state kind, optimizer, lr"):
        load_config("recognition/configs/linear_probe.py", checkpoint=folder, data=overlay(recipe))
    good = 'data = dict(name="a", kind="image_folder", root=".")\n'
    for text, message in (
        ("data = 3", "has no `data = dict"),
        (good.replace('"."', "5"), "'root' is 5: give a text"),
        (good + "questions = ('q',)", r"questions in .* are .*: write questions = dict"),
        (good + "questions = dict(q='a {}')", "question 'q' has no templates"),
        ("data = dict(name='a', kind='attributes', root='.', labels='l')\nquestions = dict(q=dict(templates=('{}',)))",
         "question 'q' has no classes: kind 'attributes' needs the words"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            load_config(CONFIGS["zero_shot"], checkpoint=folder, data=overlay(text))
    for task, options, message in (
        ("knn", {"neighbours": 0}, "neighbours is 0: give a whole number from 1 on"),
        ("knn", {"neighbours": "many"}, "neighbours is 'many', but a number stands there"),
        ("linear_probe", {"probe.epochs": 2.5}, "probe.epochs is 2.5: give a whole number from 1 on"),
        ("attentive_probe", {"probe.lr": "fast"}, "probe.lr is 'fast', but a number stands there"),
    ):
        with pytest.raises(UserError, match=message):
            load_config(f"recognition/configs/{task}.py", checkpoint=folder, options=options)
    with pytest.raises(UserError, match="seed -1 is not within 0..4294967295: choose another"):
        load_config(CONFIGS["knn"], checkpoint=folder, seed=-1)
    for kind, lacking in (("attributes", "labels"), ("image_list", "list")):
        with pytest.raises(UserError, match=f"data set 'a' has no '{lacking}': add it to its data section"):
            load_config(
                CONFIGS["zero_shot"], checkpoint=folder, data=overlay(f'data = dict(name="a", kind={kind!r}, root=".")')
            )
    data = 'data = dict(name="a", kind="image_folder", root=".")\nquestions = dict(q=dict())'
    with pytest.raises(UserError, match="question 'q' has no templates"):
        load_config(CONFIGS["zero_shot"], checkpoint=folder, data=overlay(data))
