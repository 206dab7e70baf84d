"""tools/analyse.py from its arguments to the two files, and its refusals."""

from pathlib import Path

import pytest

from engine.errors import UserError
from reports.analyses import read_analysis
from tests.analysis.conftest import pictures  # noqa: F401  a fixture
from tools.analyse import main

ROOT = Path(__file__).resolve().parents[2]


def test_from_arguments_to_files(mae, pictures, tmp_path, capsys):  # noqa: F811
    words = ["attention_distance", "--checkpoint", str(mae), "--images", pictures[0], "--count", "2"]
    main([*words, "--out", str(tmp_path / "a")])
    lines = capsys.readouterr().out.splitlines()
    found = read_analysis(tmp_path / "a/analysis.json")
    assert lines[0] == "Mean attention distance: mae (tiny, seed 0)" == found["title"]
    assert f"mean               {found['scalars']['mean']['value']:10.3f} px" in lines[1]
    assert lines[-1] == f"result: {tmp_path}/a/analysis.json"
    assert found["command"].startswith("python tools/analyse.py attention_distance --checkpoint")
    assert found["settings"] == {"images": 2, "size": 32, "grid": [4, 4], "renormalise": False}
    main([*words, "--out", str(tmp_path / "b")])
    for name in ("figure.svg", "analysis.json"):
        first, second = ((tmp_path / k / name).read_text() for k in "ab")
        assert first.replace(f"{tmp_path}/a", "") == second.replace(f"{tmp_path}/b", "")
    with pytest.raises(UserError, match="an analysis is already there; delete it to repeat it"):
        main([*words, "--out", str(tmp_path / "a")])


def test_beside_the_checkpoint_by_default(clip, pictures):  # noqa: F811
    main(["attention_maps", "--checkpoint", str(clip[0]), "--images", pictures[0], "--count", "2"])
    assert read_analysis(clip[0].parent / "analysis/attention_maps/analysis.json")["settings"]["masks"] is False


def test_refusals_leave_nothing(mae, tmp_path):  # noqa: F811
    with pytest.raises(UserError, match="does not exist; make it with"):
        main(["attention_maps", "--checkpoint", str(tmp_path / "absent"), "--out", str(tmp_path / "out")])
    with pytest.raises(UserError, match="there is no folder of images"):
        main(["attention_maps", "--checkpoint", str(mae), "--images", "absent", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(UserError, match="file is a file, not a folder; name another folder"):
            main(["attention_maps", "--checkpoint", str(mae), "--out", str(out)])


def test_own_masks_of_the_default_images(clip, pictures, tmp_path, monkeypatch):  # noqa: F811
    """They are used; where they are of other images, that is said."""
    monkeypatch.setattr("scenes.export.ensure", lambda root: None)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/test").symlink_to(pictures[0])
    monkeypatch.setattr("tools.analyse.SCENES", str(tmp_path))
    words = ["similarity_maps", "--checkpoint", str(clip[0]), "--out", str(tmp_path / "out")]
    main([*words, "--masks", pictures[1]])
    assert read_analysis(tmp_path / "out/analysis.json")["settings"]["questions"] == 6
    with pytest.raises(UserError, match=r"masks .*/coco/instances_test.json cannot be read"):
        main([*words[:-1], str(tmp_path / "other")])


def test_classes_of_the_default_images_are_colours(mae, pictures, tmp_path, monkeypatch):  # noqa: F811
    def link(root, attribute):
        for word in ("red", "blue"):
            (Path(root) / f"classes/{attribute}/test").mkdir(parents=True, exist_ok=True)
            (Path(root) / f"classes/{attribute}/test/{word}").symlink_to(pictures[0])

    monkeypatch.setattr("scenes.export.ensure", lambda root: None)
    monkeypatch.setattr("scenes.attributes.ensure_classes", link)
    monkeypatch.setattr("tools.analyse.SCENES", str(tmp_path))
    with pytest.raises(UserError, match="classes/colour/test gives 10 of 2: raise --count or add images"):
        main(["tsne", "--checkpoint", str(mae), "--out", str(tmp_path / "out")])


def test_help_names_every_analysis(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for path in (ROOT / "analysis").glob("*.py"):
        if "\ndef run(" in path.read_text():
            assert path.stem in shown
