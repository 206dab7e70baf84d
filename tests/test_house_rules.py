"""Rules of the house that a reviewer should not have to check by eye, over every file that git tracks."""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HAVE_GIT = subprocess.run(["git", "-C", ROOT, "rev-parse"], capture_output=True).returncode == 0
LONGEST, LONGEST_TEST, LONGEST_TOOL = 300, 320, 90  # lines
MOST_BY_POSITION = 7  # arguments of a call; beyond, a reader counts commas

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
    "probes": {"backbones", "datasets", "engine"},
    "recognition": {"backbones", "datasets", "engine"},
    "analysis": {"backbones", "datasets", "engine", "pretrain", "recognition", "reports"},
    "study": {"backbones", "datasets", "depth", "engine", "pretrain", "probes", "recognition", "reports", "scenes"},
    "densebench": {"backbones"},
}
ROOMS = (*BELOW, "tools", "benchmarks")
BELOW |= {"tools": set(BELOW), "benchmarks": set(BELOW)}  # nobody imports these two, nor one of them the other
FLOORS = 5
PEERS = {"pretrain", "probes", "recognition", "depth"}  # they do not know each other
LIGHT = {"scenes", "reports"}  # they use of engine only what needs no library, and no library that trains
HEAVY = {"torch", "torchvision", "mmengine", "mmcv", "mmdet", "mmseg", "timm", "open_clip", "safetensors"}
LIGHT_ENGINE = {"engine.caches", "engine.catalogue", "engine.errors", "engine.files", "engine.json_text"}


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
    limits = {"tests": LONGEST_TEST, "tools": LONGEST_TOOL}
    lengths = {path: len(path.read_text().splitlines()) for path in PYTHON}
    limit = {path: limits.get(path.relative_to(ROOT).parts[0], LONGEST) for path in PYTHON}
    assert {name_of(path): length for path, length in lengths.items() if length > limit[path]} == {}


def test_long_calls_name_their_arguments():
    """torch's operators are the exception: they take no names."""
    found = []
    for path, tree in ((p, tree) for p, tree in TREES.items() if p.relative_to(ROOT).parts[0] != "tests"):
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            function = ast.unparse(call.func)
            if len(call.args) > MOST_BY_POSITION and not re.search(r"(torch\.ops|operators)\.", function):
                found.append(f"{name_of(path)}:{call.lineno} {function}: {len(call.args)} by position")
    assert found == []


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
    tests = name.startswith(("recognition/", "probes/"))  # an encoder as it is
    command = f"test.py {name} --checkpoint FOLDER" if tests else f"train.py {name}"
    stated = {ast.unparse(node.targets[0]) for node in TREES[path].body if isinstance(node, ast.Assign)}
    if "method" not in stated and not tests:
        command += " --encoder NAME|FOLDER"  # a head, for the encoders of all methods
    if name.startswith("study/"):
        command = f"study.py {path.stem}"
    if path.stem == "finetune":  # which trains, whichever checkpoint it is given
        command = f"train.py {name} --checkpoint FOLDER"
    assert f"COMMAND   python tools/{command}" in text.splitlines()
    assert re.search(r"^COST      \S", text, re.M) and re.search(r"^EXPECTED  \S", text, re.M)


def test_the_documents_that_configs_name_are_there():
    named = {name for path in CONFIGS for name in re.findall(r"\b[\w/]+\.md\b", ast.get_docstring(TREES[path]))}
    assert named and [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def modules() -> dict[str, ast.Module]:
    """Dotted name -> tree of every module outside tests and docs."""
    paths = {path: path.relative_to(ROOT).with_suffix("").parts for path in PYTHON}
    return {".".join(parts).removesuffix(".__init__"): TREES[path] for path, parts in paths.items()
            if parts[0] not in ("tests", "docs")}  # fmt: skip


def at_import(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported: those inside functions run later."""
    for statement in statements:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield statement
        elif isinstance(statement, (ast.If, ast.Try, ast.With)) and "TYPE_CHECKING" not in ast.unparse(statement):
            for part in ("body", "orelse", "finalbody"):
                yield from at_import(getattr(statement, part, []))


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The members of one circle of a graph, empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_circle_between_modules():
    known = modules()
    graph = {}
    for name, tree in known.items():
        pairs = [(module, f"{module}.{part}") for module, part, _ in imports(ast.Module([*at_import(tree.body)], []))]
        graph[name] = {whole if whole in known else module for module, whole in pairs} & set(known)
    assert sum(map(len, graph.values())) > 300, "the rule sees no imports"
    assert circle(graph) == []


def test_rooms_stand_on_few_floors():
    """The longest chain of rooms where each imports the next; compat, which only entry points import, is none."""
    graph: dict[str, set[str]] = defaultdict(set)
    for name, tree in modules().items():
        room = name.split(".")[0]
        graph[room] |= {module.split(".")[0] for module, _, _ in imports(tree)} & set(ROOMS) - {room, "compat"}
    assert circle(graph) == []
    chains: dict[str, list[str]] = {}
    for room in TopologicalSorter(graph).static_order():  # those it imports come first
        chains[room] = [room, *max((chains[below] for below in graph[room]), key=len, default=[])]
    longest = max(chains.values(), key=len)
    assert len(longest) <= FLOORS, " > ".join(longest)
    assert [(room, graph[room] & PEERS) for room in sorted(PEERS) if graph[room] & PEERS - {room}] == []


def test_nothing_imports_a_command():
    """Commands call rooms; what two commands share is a room. Tests start commands by `main`."""
    commands = {path.stem for path in PYTHON if path.parent == ROOT / "tools"} - {"start"}
    found = []
    for path, tree in TREES.items():
        if path.relative_to(ROOT).parts[0] == "tests":
            continue
        for module, name, line in imports(tree):
            started = module == "start" and path.parent != ROOT / "tools"
            bare = module in commands and module not in ROOMS
            if module.split(".")[0] == "tools" or started or bare:
                found.append(f"{name_of(path)}:{line} {module} {name}")
    assert found == []


def test_every_command_begins_and_ends_alike():
    """`import start` before anything of the project, `start.run(main)` at the end, and `mend` before torch."""
    for path in (path for path in PYTHON if path.parent == ROOT / "tools" and path.stem != "start"):
        own = [module for module, _, _ in imports(ast.Module([*at_import(TREES[path].body)], []))
               if module.split(".")[0] in {*ROOMS, "start"}]  # fmt: skip
        assert own[0] == "start", path
        last = ast.unparse(TREES[path].body[-1])
        assert re.search(r"if __name__ == '__main__':\n(    gc.disable\(\)\n)?    start\.run\(main", last), path


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


def test_the_readme_is_read_in_one_sitting():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 220 and [k for k, line in enumerate(lines, 1) if len(line) >= 140] == []
