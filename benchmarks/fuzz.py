"""Damage every kind of file that the project reads, many times over, and count how its readers end.

    python -m benchmarks.fuzz --inputs 20000
    python -m benchmarks.fuzz --minutes 5 --kinds coco images --seed 7
    python -m benchmarks.fuzz --again runs/fuzz/coco-17

Good inputs of each kind take one to four edits, by the structure of their format (other types, keys left out or twice,
numbers at and beyond every limit, wrong nesting, names of all kinds, damage behind a checksum that fits) and by bytes,
and go through the readers that a user's command brings them to, in forked processes with limits of time and memory.
Good endings are `refused`, by one sentence, and `accepted`; the others are `wrong` (a sentence of several lines,
prepared data that training refuses, pixels that differ by reader, a COCO file on which perfect predictions score less
than 100), `traceback`, `crash` (a signal), `hang` and `memory`. For the first input of each fault the smallest set of
edits that still shows it is kept in --out; --again reads it once more, with its traceback. Seed, kind and number name
an input for good. Exit status 1 where anything ended badly.

COST: some 20 inputs a second on one core.
"""

import argparse
import gc
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.append(str(ROOT / "tools"))  # commands import `start` from there

import compat  # noqa: E402, F401, I001
import torch  # noqa: E402
from tqdm import tqdm  # noqa: E402

from benchmarks import carry_out  # noqa: E402
from benchmarks.fuzzing import data, runs, settings, weights  # noqa: E402
from benchmarks.fuzzing.children import ENDINGS, GOOD, Ending, ended  # noqa: E402
from benchmarks.fuzzing.kinds import Files, Kind, lay_out, make  # noqa: E402
from engine.errors import UserError  # noqa: E402

MOST_EDITS, SEALED, LONGEST = 4, 0.8, 2000  # of an input; share with renewed checksums; characters of a sentence
TRIALS = 200  # of fewer edits, and files, for one fault
MIB = 1 << 20
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # memory: inputs are many and small


class Input(NamedTuple):
    """One damaged input: its kind, its number, and which of its edits are made."""

    kind: str
    number: int
    kept: tuple[int, ...] | None = None  # None: all


def files_of(kinds: dict[str, Kind], seed: int, one: Input) -> Files:
    """The input's files; seed, kind and number decide them."""
    name = f"{seed} {one.kind} {one.number}"
    draw = Random(name)
    base, sealed = draw.randrange(len(kinds[one.kind].good)), draw.random() < SEALED
    chosen = range(edit_count(seed, one)) if one.kept is None else one.kept
    return make(kinds[one.kind], {k: f"{name} {k}" for k in chosen}, base, sealed)


def edit_count(seed: int, one: Input) -> int:
    """How many edits an input takes: one more often than four."""
    return min(Random(f"{seed} {one.kind} {one.number} edits").choice((1, 1, 1, 2, 2, 3, MOST_EDITS)), MOST_EDITS)


def judge(kinds: dict[str, Kind], kind: str, files: Files) -> Ending:
    """Bring an input to its readers, in this process, and say how that ended."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "input")
        try:
            lay_out(files, folder)
        except (OSError, ValueError):  # a name that no file system takes
            return Ending("refused", "no such file can be")
        os.chdir(place)
        try:
            return ending_of(lambda: kinds[kind].read(folder), place)
        finally:
            os.chdir(here)


def ending_of(read: partial, place: str) -> Ending:
    """How a reader ended."""
    try:
        wrong = read()
    except UserError as error:
        sentence = str(error)
        if "\n" in sentence.strip() or len(sentence.replace(place, "")) > LONGEST or not sentence.strip():
            return Ending("wrong", f"no sentence of one line: {sentence[:300]!r}")
        return Ending("refused", sentence)
    except MemoryError:
        return Ending("memory", place_of(sys.exc_info()[2]))
    except BaseException as error:  # noqa: BLE001  whatever a reader lets through is what is looked for
        return Ending("traceback", f"{type(error).__name__} at {place_of(error.__traceback__)}: {error}"[:600])
    return Ending("wrong", wrong) if wrong else Ending("accepted")


def place_of(trace: object) -> str:
    """The last line of the project's own code in a traceback."""
    frames = [f for f in traceback.extract_tb(trace) if f.filename.startswith(str(ROOT)) and ".venv" not in f.filename]
    own = [f for f in frames if "benchmarks" not in Path(f.filename).parts] or frames
    return f"{Path(own[-1].filename).relative_to(ROOT)}:{own[-1].lineno}" if own else "?"


def fault_of(one: Input, end: Ending) -> str:
    """What two inputs with the same fault have in common."""
    why = re.sub(r"\S*/\S*/\S*|\d{3,}|'[^']*'", "", end.why) if end.word == "wrong" else end.why.split(": ")[0]
    return f"{one.kind}: {end.word}: {why[:80]}"


def numbered(kinds: dict[str, Kind], inputs: int, minutes: float | None) -> Iterator[list[Input]]:
    """The inputs to read, each kind by its share, in portions."""
    whole, first, until = sum(kind.share for kind in kinds.values()), 0, time.monotonic() + 60 * (minutes or 0)
    turns, rest = (2, 0) if minutes else divmod(inputs, whole)
    while minutes is None or time.monotonic() < until:
        extra = Counter([name for name, kind in kinds.items() for _ in range(kind.share)][:rest])
        yield [Input(name, first + k) for name, kind in kinds.items() for k in range(turns * kind.share + extra[name])]
        first += turns * max(kind.share for kind in kinds.values())
        if minutes is None:
            return


class Fuzzer:
    """Kinds, limits and what was found."""

    def __init__(self, kinds: dict[str, Kind], args: argparse.Namespace) -> None:
        self.kinds, self.args = kinds, args
        self.counts = {name: Counter() for name in kinds}
        self.faults: dict[str, list[Input]] = defaultdict(list)
        self.why: dict[str, Ending] = {}

    def outcomes(self, inputs: Sequence[Input], jobs: int) -> Iterator[tuple[Input, Ending]]:
        """How each input ends; one that hangs is tried again alone, since the machine may have been busy."""

        def work(one: Input) -> Ending:
            sys.stdout.reconfigure(encoding="utf-8", errors="strict")
            return judge(self.kinds, one.kind, files_of(self.kinds, self.args.seed, one))

        limits = {"seconds": self.args.seconds, "memory": self.args.memory * MIB}
        for one, end in ended(inputs, work, jobs, **limits):
            if end.word == "hang" and len(inputs) > 1:
                end = next(ended([one], work, 1, **limits))[1]
            yield one, end

    def run(self) -> None:
        """Read all inputs and count."""
        total = None if self.args.minutes else self.args.inputs
        with tqdm(total=total, unit="input", disable=self.args.quiet) as bar:
            for portion in numbered(self.kinds, self.args.inputs, self.args.minutes):
                for one, end in self.outcomes(portion, self.args.jobs):
                    self.counts[one.kind][end.word] += 1
                    bar.update()
                    if end.word not in GOOD:
                        fault = fault_of(one, end)
                        self.faults[fault].append(one)
                        self.why.setdefault(fault, end)

    def smallest(self, one: Input, fault: str) -> tuple[Input, Files]:
        """The input with as few edits as still show its fault, without the files that do not matter."""
        kept = tuple(range(edit_count(self.args.seed, one)))
        for k in kept:
            fewer = one._replace(kept=tuple(other for other in kept if other != k))
            if len(kept) > 1 and fault_of(one, self.outcome(fewer)) == fault:
                kept = fewer.kept
        one = one._replace(kept=kept)
        return one, files_of(self.kinds, self.args.seed, one)

    def outcome(self, one: Input) -> Ending:
        """How a single input ends."""
        return next(self.outcomes([one], 1))[1]

    def keep(self) -> None:
        """Write a small reproducer of each fault."""
        for fault, inputs in tqdm(self.faults.items(), desc="shrink", disable=self.args.quiet or not self.faults):
            one, files = self.smallest(inputs[0], fault)
            folder = Path(self.args.out, f"{one.kind}-{one.number}")
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError, ValueError):
                lay_out_raw(files, folder / "input")
            about = f"{fault}\n{self.why[fault].why}\n{len(inputs)} inputs, numbers {[i.number for i in inputs[:20]]}\n"
            (folder / "fault.txt").write_text(
                f"{about}seed {self.args.seed}, edits {one.kept}\n", errors="backslashreplace"
            )

    def table(self) -> str:
        """Counts by kind."""
        rows = [(name, sum(found.values()), *(found[word] for word in ENDINGS)) for name, found in self.counts.items()]
        rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
        head = ("kind", "inputs", *ENDINGS)
        lines = [" | ".join(map(str, row)) for row in (head, ["---"] * len(head), *rows)]
        return "\n".join(f"| {line} |" for line in lines)


def lay_out_raw(files: Files, folder: Path) -> None:
    """Write an input's files as they are kept, marks included."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def again(kinds: dict[str, Kind], folder: Path) -> int:
    """Read a kept input once more, in this process, with its whole traceback."""
    kind = folder.name.rpartition("-")[0]
    top = folder / "input"
    files = {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}
    with tempfile.TemporaryDirectory() as place:
        lay_out(files, Path(place, "input"))
        try:
            print(kinds[kind].read(Path(place, "input")) or "accepted")
        except UserError as error:
            print(f"refused: {error}")
        except BaseException:  # noqa: BLE001  shown is what is asked for
            traceback.print_exc()
            return 1
    return 0


def warm(kinds: dict[str, Kind]) -> None:
    """Read a good input of each kind, so that caches are full before the first fork, and see that it is accepted."""
    tqdm.monitor_interval = 0  # no thread beside this one, which forks
    gc.collect()
    gc.freeze()  # forked processes need not look through what all share
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        ends = {name: judge(kinds, name, kind.good[0]) for name, kind in kinds.items()}
    if bad := {name: end for name, end in ends.items() if end.word != "accepted"}:
        raise RuntimeError(f"good inputs were not accepted: {bad}")
    gc.collect()
    gc.freeze()


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--inputs", type=int, default=2000, help="how many, over all kinds (default %(default)s)")
    add("--minutes", type=float, help="as many as in this time instead")
    add("--seed", type=int, default=0, help="of the damage")
    add("--kinds", nargs="+", metavar="KIND", help="some kinds alone (default: all)")
    add("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes at once (default: one per core)")
    add("--seconds", type=float, default=30, help="for one input (default %(default)s)")
    add("--memory", type=int, default=3072, help="MiB of address space for one process (default %(default)s)")
    add("--out", default="runs/fuzz", help="where faulty inputs are kept (default %(default)s)")
    add("--quiet", action="store_true", help="no bars")
    add("--again", type=Path, metavar="FOLDER", help="read a kept input once more")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the good inputs, damage and read them, keep what ended badly, print the table."""
    args = parse_arguments(arguments)
    torch.set_num_threads(1)
    tempfile.tempdir = SCRATCH
    known = dict(pair for room in (data, settings, runs, weights) for pair in room.kinds())
    if unknown := sorted({*(args.kinds or ())} - {*known}):
        sys.exit(f"error: no kind {unknown[0]!r}: choose of {', '.join(known)}")
    kinds = {name: kind for name, kind in known.items() if name in (args.kinds or known)}
    if args.again:
        return again(known, args.again)
    warm(kinds)
    fuzzer = Fuzzer(kinds, args)
    fuzzer.run()
    fuzzer.keep()
    print(fuzzer.table())
    for fault, inputs in sorted(fuzzer.faults.items(), key=lambda item: -len(item[1])):
        print(f"{len(inputs):>6} x {fault}    {fuzzer.why[fault].why[:200]!r}")
    if fuzzer.faults:
        print(f"kept: {args.out}/KIND-NUMBER; python -m benchmarks.fuzz --again FOLDER shows one")
    return int(bool(fuzzer.faults))


if __name__ == "__main__":
    carry_out(main)
