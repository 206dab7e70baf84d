"""Rules of the house that a reviewer should not have to check by eye, over every file that git tracks."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HAVE_GIT = subprocess.run(["git", "-C", ROOT, "rev-parse"], capture_output=True).returncode == 0
LONGEST = 320

# Room -> rooms that it may import, from the ground up. Rooms of one floor do not know each other.
BELOW = {
    "compat": set(),
    "engine": set(),
    "backbones": {"engine"},
    "datasets": {"engine"},
    "scenes": {"engine"},
    "reports": {"engine"},
    "pretrain": {"backbones", "datasets", "engine"},
    "depth": {"backbones", "datasets", "engine"},
    "recognition": {"backbones", "datasets", "engine"},
    "analysis": {"backbones", "datasets", "engine", "pretrain", "recognition", "reports"},
    "study": {"backbones", "datasets", "depth", "engine", "pretrain", "recognition", "reports", "scenes"},
}
ROOMS = (*BELOW, "tools", "benchmarks")
BELOW |= {"tools": set(ROOMS), "benchmarks": set(ROOMS)}
FLOORS = 5
LIGHT = {"scenes", "reports"}  # they use of engine only what needs no library, and no library that trains
HEAVY = {"torch", "torchvision", "mmengine", "mmcv", "mmdet", "mmseg", "timm", "open_clip", "safetensors"}
LIGHT_ENGINE = {"engine.catalogue", "engine.errors", "engine.files"}


def tracked(pattern: str) -> list[Path]:
    """Tracked files of a pattern that still exist; without git, those of the tree."""
    if HAVE_GIT:
        words = ["git", "-C", ROOT, "ls-files", "-z", pattern]
        listed = subprocess.run(words, capture_output=True, text=True, check=True)
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    skipped = {".venv", "data", "runs", "report", ".git"}
    return [p for p in ROOT.rglob(pattern) if p.is_file() and p.relative_to(ROOT).parts[0] not in skipped]


PYTHON = tracked("*.py")
TREES = {path: ast.parse(path.read_text(), str(path)) for path in PYTHON}
CONFIGS = [path for path in PYTHON if path.parent.name in ("seg_configs", "det_configs", "configs")]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> list[tuple[str, str, int]]:
    """(module, name or "", line) of every import, those inside functions included."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, "", node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            found += [(node.module, alias.name, node.lineno) for alias in node.names]
    return found


def test_the_rules_see_the_tree():
    names = {name_of(path) for path in PYTHON}
    assert len(names) > 150 and {"engine/loop.py", "tools/train.py", "scenes/render.py", "tests/conftest.py"} <= names
    assert len(CONFIGS) >= 35


def test_weights_are_never_loaded_loosely():
    """No call with strict=False (but zip's) and none with weights_only=False."""
    loose = []
    for path, tree in TREES.items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            off = {k.arg for k in call.keywords if isinstance(k.value, ast.Constant) and k.value.value is False}
            zipped = isinstance(call.func, ast.Name) and call.func.id == "zip"
            if "weights_only" in off or ("strict" in off and not zipped):
                loose.append(f"{name_of(path)}:{call.lineno}")
            loads = ast.unparse(call.func) == "torch.load" and not name_of(path).startswith("tests/")
            if loads and not any(k.arg == "weights_only" for k in call.keywords):
                loose.append(f"{name_of(path)}:{call.lineno} does not say weights_only")
    # tests/compat shows that an attempt to load loosely is refused
    assert [place for place in loose if not place.startswith("tests/compat/")] == []


def test_no_device_is_written_into_the_code():
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cuda"
    ]
    assert found == []


def test_no_private_parts_of_timm_or_torch():
    """Private modules and names change without notice. The mends of `compat` have to touch some."""
    private = []
    for path, tree in TREES.items():
        for module, name, line in imports(tree):
            parts = [*module.split("."), name]
            hidden = any(part.startswith("_") and not part.startswith("__") for part in parts)
            if parts[0] in ("timm", "torch", "torchvision", "mmengine", "mmseg", "mmdet") and hidden:
                private.append(f"{name_of(path)}:{line} {module}.{name}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                owner = ast.unparse(node.value)
                if re.match(r"(timm|torch|torchvision)(\.|$)", owner):
                    private.append(f"{name_of(path)}:{node.lineno} {owner}.{node.attr}")
    assert [p for p in private if not p.startswith(("compat/", "tests/compat/"))] == []


def test_files_stay_short():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in PYTHON}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_every_module_says_what_it_is():
    bare = [name_of(p) for p, tree in TREES.items() if not ast.get_docstring(tree) and p.read_text().strip()]
    assert bare == []


# Absolute paths of one person's or machine's folders. Written in pieces, so that this file does not match itself.
HOMES = re.compile("|".join("/" + place + "/" for place in ("home", "work", "root", "Users", "mnt")))
TEXT = [".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".j2", ".css", ".cfg", ".sh", "Makefile", "run"]


def test_no_paths_of_one_machine():
    found = []
    for path in tracked("*"):
        if path.suffix in TEXT or path.name in TEXT:
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                if HOMES.search(line):
                    found.append(f"{name_of(path)}:{number} {line.strip()[:80]}")
    assert found == []


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_config_header(path):
    """A person who opens a config finds the command that runs it, and where cost and expected result are written."""
    text, name = ast.get_docstring(TREES[path]), name_of(path)
    command = f"test.py {name} --checkpoint FOLDER" if name.startswith("recognition/") else f"train.py {name}"
    stated = {ast.unparse(node.targets[0]) for node in TREES[path].body if isinstance(node, ast.Assign)}
    if "method" not in stated and not name.startswith("recognition/"):
        command += " --encoder NAME|FOLDER"  # a head, for the encoders of all methods
    if path.stem == "finetune":  # which trains, whichever checkpoint it is given
        command = f"train.py {name} --checkpoint FOLDER"
    assert f"COMMAND   python tools/{command}" in text.splitlines()
    assert re.search(r"^COST      \S", text, re.M) and re.search(r"^EXPECTED  \S", text, re.M)


def test_the_documents_that_configs_name_are_there():
    named = {name for path in CONFIGS for name in re.findall(r"\b[\w/]+\.md\b", ast.get_docstring(TREES[path]))}
    assert named and [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_imports_go_downward():
    upward = []
    for path, tree in TREES.items():
        room = path.relative_to(ROOT).parts[0]
        if room not in ROOMS:
            continue
        for module, name, line in imports(tree):
            top = module.split(".")[0]
            # compat is imported by entry points alone, which lie in tools and benchmarks
            if top in ROOMS and top != room and top not in BELOW[room]:
                upward.append(f"{name_of(path)}:{line} {module} {name}")
    assert upward == []


def test_scenes_and_reports_need_no_library_that_trains():
    heavy = []
    for path, tree in TREES.items():
        if path.relative_to(ROOT).parts[0] not in LIGHT:
            continue
        for module, name, line in imports(tree):
            top = module.split(".")[0]
            if top in HEAVY or (top == "engine" and module not in LIGHT_ENGINE):
                heavy.append(f"{name_of(path)}:{line} {module} {name}")
    assert heavy == []


def test_no_room_without_a_place_in_the_order():
    rooms = {path.relative_to(ROOT).parts[0] for path in PYTHON if len(path.relative_to(ROOT).parts) > 1}
    assert rooms - {"tests", "docs", "seg_configs", "det_configs"} <= set(BELOW)
