"""Golden results: what no redesign may change, written down before it and checked after it.

    python -m benchmarks.golden write                          everything anew, to benchmarks/golden.json
    python -m benchmarks.golden check                          run all again and name each difference
    python -m benchmarks.golden check --part configurations    only the merged configurations: no training
    python -m benchmarks.golden check --only 'upernet *' '* cae'   what these names fit: "task method" of runs,
                                                               "task method scale" of configurations

Runs: each pretraining method, each head on plain and hierarchical encoders, and each image-level task, 12 iterations at
scale "tiny", as commands in a temporary folder. Weights to the last bit, curves, metrics, ledgers and the optimizer's
groups are written down. Configurations: every method, head and scale, whole, as the loader gives them.

`check` prints a line for each difference and ends with status 1 if there is one. Weights, curves and metrics hold for
one processor and one build of torch; elsewhere they are noted and not counted.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import carry_out
from benchmarks import golden_configs as configurations
from benchmarks import golden_runs as runs
from benchmarks.golden_compare import departures, differences, grouped, machine, portable, read, write
from engine.errors import UserError
from engine.provenance import digest

PARTS = ("runs", "configurations")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["write", "check"], help="write the golden file, or compare with it")
    parser.add_argument("--only", nargs="+", default=[], metavar="PATTERN", help="names, with * and ?; `write` leaves"
                        " all others as they stand (default: all)")  # fmt: skip
    parser.add_argument("--part", choices=PARTS, help="one of the two parts (default: both)")
    parser.add_argument("--jobs", type=int, default=2, help="how many go on at once (default %(default)s)")
    parser.add_argument("--file", type=Path, default=Path(__file__).with_suffix(".json"), help="the golden file"
                        " (default: benchmarks/golden.json)")  # fmt: skip
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error(f"--jobs {args.jobs}: give 1 or more")
    return args


def fitting(names: list[str], patterns: list[str]) -> list[str]:
    """The names that one of the patterns fits; all where there is no pattern."""
    return [name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]


@contextmanager
def bar(total: int, what: str) -> Iterator[Any]:
    """A progress bar with the time left."""
    with tqdm(total=total, desc=what, unit=what[:-1], smoothing=0.05, disable=not total) as shown:
        yield shown.update


def observe(args: argparse.Namespace, known: dict[str, list[str]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What runs and configurations give now: {name: entry, or in one sentence why there is none}.

    Args:
        args: the command line.
        known: names of the golden file by part; those that no longer exist are looked for all the same.
    """
    wanted = {"runs": list(runs.plan()), "configurations": configurations.names()}
    chosen = {}
    for part, names in wanted.items():
        every = list(dict.fromkeys([*names, *known[part]]))
        chosen[part] = fitting(every, args.only) if args.part in (None, part) else []
    if not any(chosen.values()):
        raise UserError(f"nothing fits {' '.join(args.only)}: names are such as {wanted['runs'][0]!r}, give a pattern")
    planned = [name for name in chosen["runs"] if name in wanted["runs"]]
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        house = Path(folder).resolve()
        runs.lay_out(house)
        with bar(len(chosen["configurations"]), "configurations") as done:
            merged = dict(configurations.contents(house, chosen["configurations"], args.jobs, done))
        with bar(len(runs.with_parents(planned)), "runs") as done:
            measured = dict(runs.results(house, planned, args.jobs, done))
    return {**dict.fromkeys(chosen["runs"], "there is no such run"), **measured}, merged


def write_down(args: argparse.Namespace) -> int:
    """Write the golden file; with --only or --part, the rest of it stays."""
    old = {"machine": machine(), "runs": {}, "configurations": {}, "sections": {}}
    if (args.only or args.part) and args.file.exists():
        old = read(args.file)
        if old["machine"] != machine() and args.part != "configurations":
            raise UserError(
                f"{args.file} was written on another machine: write it whole, without --only and --part, or its "
                "configurations alone, which no machine changes, by --part configurations"
            )
    measured, merged = observe(args, {part: [] for part in PARTS})
    failed = {name: [entry] for name, entry in measured.items() if isinstance(entry, str)}
    # A scale that a config does not have is no fault; whatever else keeps it from being read is one.
    failed |= {name: [why] for name, why in merged.items() if isinstance(why, str) and "has no scale" not in why}
    if failed:
        raise UserError("nothing is written: " + "; ".join(grouped(failed)))
    entries = {**old["runs"], **measured}
    sections = {**old["sections"], **{name: found for name, found in merged.items() if not isinstance(found, str)}}
    marks = {name: configurations.hashes(found) for name, found in sections.items()}
    pool = {marks[name][key]: content for name, found in sections.items() for key, content in found.items()}
    whole = {name: digest(hashes)[:16] for name, hashes in marks.items()}
    document = {"machine": old["machine"] if old["runs"] and not measured else machine(), "runs": entries,
                "configurations": whole}  # fmt: skip
    write(args.file, document, marks, pool)
    print(f"{len(measured)} runs and {len(sections)} configurations written to {args.file}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Print each difference; 1 where there is one."""
    golden, here = read(args.file), machine()
    elsewhere = sorted(key for key in golden["machine"].keys() | here.keys()
                       if golden["machine"].get(key) != here.get(key))  # fmt: skip
    if elsewhere:
        told = ", ".join(f"{key} {golden['machine'].get(key)} (here {here.get(key)})" for key in elsewhere)
        print(f"note: written with {told}: weights are not compared, curves and metrics are noted, not counted")
    measured, merged = observe(args, {part: list(golden[part]) for part in PARTS})
    found: dict[str, list[str]] = {}
    notes: dict[str, list[str]] = {}
    for name, entry in measured.items():
        old = golden["runs"].get(name)
        if elsewhere and old is not None and not isinstance(entry, str):
            notes[f"run {name}"] = departures(old, entry)
            old, entry = portable(old), portable(entry)
        found[f"run {name}"] = differences(old, entry)
    for name, sections in merged.items():
        old = configurations.joined(golden["sections"][name]) if name in golden["sections"] else None
        new = sections if isinstance(sections, str) else configurations.joined(sections)
        found[f"configuration {name}"] = differences(old, new)
    for line in grouped(notes):
        print(f"note: {line}")
    lines = grouped(found)
    print(*lines, sep="\n", end="\n" if lines else "")
    there = sum(name in golden["configurations"] for name in merged)
    print(f"{len(measured)} runs and {there} configurations compared: {len(lines) or 'no'} differences")
    return 1 if lines else 0


def main() -> int:
    """Parse and do."""
    args = parse_arguments()
    return write_down(args) if args.command == "write" else check(args)


if __name__ == "__main__":
    carry_out(main)
