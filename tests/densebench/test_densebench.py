"""The door: one help for all commands, each one's own status, two functions, and a wheel that brings no room along."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import densebench
from densebench.__main__ import commands

ROOT = Path(__file__).resolve().parents[2]


def start(*words, cwd=ROOT, **environment):
    """A fresh Python on `words`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True)


def test_one_help_lists_every_command_with_a_line():
    shown = start("-m", "densebench", "--help").stdout
    files = {path.stem for path in (ROOT / "tools").glob("*.py")} - {"start"}
    assert {"train", "test", "study", "report", "convert", "prepare", "doctor", "analyse"} <= files
    assert set(commands(ROOT / "tools")) == files
    for name in files:
        line = (ROOT / "tools" / f"{name}.py").read_text().lstrip("r").removeprefix('"""').splitlines()[0]
        assert re.search(rf"^  {name} +{re.escape(line)}$", shown, re.M), name


def test_help_and_refusals_need_no_library_that_trains(tmp_path):
    """A `torch` that cannot be imported stands first on the path: whoever asks for it ends with its error."""
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch was asked for')\n")
    for name in commands(ROOT / "tools"):
        ended = start("-m", "densebench", name, "--help", PYTHONPATH=tmp_path)
        if name != "study":  # its choices are read from the cells of a study, which need mmengine
            assert ended.returncode == 0 and ended.stdout.startswith(f"usage: {name}.py"), ended.stderr
    ended = start("-m", "densebench", "train", PYTHONPATH=tmp_path)
    assert ended.returncode == 2 and "required: config" in ended.stderr
    assert "torch was asked for" in start("-m", "densebench", "doctor", PYTHONPATH=tmp_path).stdout


def test_a_command_keeps_its_status_from_any_folder(tmp_path):
    ended = start("-m", "densebench", "report", "nowhere", cwd=tmp_path, PYTHONPATH=ROOT)
    assert ended.returncode == 2 and re.fullmatch("error: nowhere: no such folder.*\n", ended.stderr)
    ended = start("-m", "densebench", "scenes", "--help", cwd=tmp_path, PYTHONPATH=ROOT)
    assert ended.returncode == 0 and "--counts SPLIT=N" in ended.stdout
    ended = start("-m", "densebench", "trian")
    assert ended.returncode == 2 and "invalid choice: 'trian'" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("room", ["reports", "scenes"])
def test_the_names_that_records_and_documents_give(room):
    ended = start("-m", room, "--no-such-flag")
    assert ended.returncode == 2 and "usage: " in ended.stderr and "Traceback" not in ended.stderr


def test_functions_of_the_checkout_from_elsewhere(tmp_path):
    """A program's own modules keep their names: here one that is called like a room."""
    (tmp_path / "datasets.py").write_text("mine = True\n")
    code = (
        "from densebench import load_encoder, read_checkpoint; import backbones, datasets;"
        "assert load_encoder is backbones.load_encoder and read_checkpoint is backbones.read_checkpoint;"
        "assert datasets.mine"
    )
    ended = start("-c", code, cwd=tmp_path, PYTHONPATH=os.pathsep.join([str(tmp_path), str(copy_of_door(tmp_path))]))
    assert ended.returncode == 0, ended.stderr
    with pytest.raises(AttributeError, match="no attribute 'save_encoder'"):
        _ = densebench.save_encoder


def copy_of_door(folder: Path) -> Path:
    """A folder from which `densebench` alone can be imported, as after `pip install -e .`."""
    site = folder / "site"
    site.mkdir()
    (site / "densebench.py").write_text(
        f"import importlib.util, sys\nspec = importlib.util.spec_from_file_location('densebench', "
        f"{str(ROOT / 'densebench/__init__.py')!r}, submodule_search_locations=[{str(ROOT / 'densebench')!r}])\n"
        "module = importlib.util.module_from_spec(spec)\nsys.modules['densebench'] = module\n"
        "spec.loader.exec_module(module)\n"
    )
    return site


def test_without_its_checkout_it_says_so(tmp_path):
    shutil.copytree(ROOT / "densebench", tmp_path / "densebench", ignore=shutil.ignore_patterns("__pycache__"))
    ended = start("-m", "densebench", "train", cwd=tmp_path)
    assert ended.returncode == 1 and "without its checkout: run pip install -e . in the checkout" in ended.stderr
    assert "Traceback" not in ended.stderr
    ended = start("-c", "from densebench import load_encoder", cwd=tmp_path)
    assert ended.returncode == 1 and "without its checkout" in ended.stderr


def test_a_wheel_holds_the_door_alone(tmp_path):
    """What a plain `pip install .` would put among other people's packages; its requirements are the file's."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "requirements.txt", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    for room in ("densebench", "tools", "engine", "reports", "benchmarks"):
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
    ended = start("-c", code, tmp_path, cwd=source)
    assert ended.returncode == 0, ended.stderr
    (wheel,) = tmp_path.glob("*.whl")
    version = densebench.__version__
    with zipfile.ZipFile(wheel) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"densebench", f"densebench-{version}.dist-info"}
        metadata = archive.read(f"densebench-{version}.dist-info/METADATA").decode()
        scripts = archive.read(f"densebench-{version}.dist-info/entry_points.txt").decode()
    asked = re.findall(r"^Requires-Dist: (\S+)$", metadata, re.M)
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert asked == [line for line in lines if line]
    assert "densebench = densebench.__main__:main" in scripts


def test_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["requires-python"] == ">=3.11" and "version" in project["project"]["dynamic"]
    assert f"\nversion: {densebench.__version__}\n" in (ROOT / "CITATION.cff").read_text()
