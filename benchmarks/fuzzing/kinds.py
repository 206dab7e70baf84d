"""A kind of input: good ones to begin from, and the readers that a user's command brings it to."""

import runpy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import engine.errors
from benchmarks.fuzzing.formats import edit_file
from engine.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
Files = dict[str, bytes]  # path below an input's folder -> content
HERE = "@here@"  # in a file stands for the input's folder
ENDS = (".JPG", ".png.png", "", ".txt", " .png", ".\n.png", "é.png", "\udcff.png", "x" * 200 + ".png", ".tif")


@dataclass(frozen=True)
class Kind:
    """What is damaged and who reads it.

    Attributes:
        good: whole inputs, which the readers accept.
        read: the readers, on the input's folder; raises UserError where they refuse, returns what is wrong where they
            accept what they should not.
        seal: renews the checksums that files hold of others or of themselves: damage behind a good checksum is what a
            reader must see by itself.
        fixed: files that say how the input is read, and stay; renames: whether names of files are damaged too.
        share: how often it is drawn beside the others; slow readers less.
    """

    good: list[Files]
    read: Callable[[Path], str | None]
    seal: Callable[[Files], None] | None = None
    fixed: tuple[str, ...] = ()
    renames: bool = False
    share: int = 4


def edit(kind: Kind, files: Files, draw: Random) -> None:
    """One edit of an input."""
    names = sorted(name for name in files if name not in kind.fixed)
    if not names:
        return
    name = draw.choice(names)
    if kind.renames and draw.random() < 0.1:
        content, choice = files.pop(name), draw.randrange(3)
        if choice:
            folder, _, last = name.rpartition("/")
            last = draw.choice((f".{last}", f"._{last}", last.rpartition(".")[0] + draw.choice(ENDS)))
            files[f"{folder}/{last}" if folder else last] = content
    else:
        files[name] = edit_file(name, files[name], draw)


def make(kind: Kind, edits: Mapping[int, str], base: int, sealed: bool) -> Files:
    """The input of a kind that begins as one of its good ones and takes the edits drawn from seeds, in order."""
    files = dict(kind.good[base])
    for seed in edits.values():
        edit(kind, files, Random(seed))
    if kind.seal and sealed:
        kind.seal(files)
    return files


def lay_out(files: Files, folder: Path) -> None:
    """Write an input's files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.replace(HERE.encode(), str(folder).encode()))


def command(script: str, *words: object) -> None:
    """Run an entry point of tools/ as its user does.

    Raises:
        UserError: what it refuses with; RuntimeError: a status without a sentence.
    """
    told: list[UserError] = []

    def tell(error: UserError | OSError) -> int:
        told.append(engine.errors.own(error))
        return told[-1].status

    engine.errors.tell, before = tell, engine.errors.tell
    sys.argv = [f"tools/{script}.py", *map(str, words)]
    try:
        runpy.run_path(str(ROOT / "tools" / f"{script}.py"), run_name="__main__")
    except SystemExit as end:
        if told:
            raise told[0] from None
        if end.code == 2:
            raise UserError("refused by argparse") from None
        if end.code:
            raise RuntimeError(f"{script} ended with status {end.code} and no sentence") from None
    finally:
        engine.errors.tell = before
