"""Where the cells of a study run, for every command that starts some: here, as jobs of a cluster, or by other hands."""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UserError

if TYPE_CHECKING:
    from study.cells import Cell

LIST = "--list"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `execute` reads. Nothing heavy is imported for them."""
    add = parser.add_argument_group("where the runs go (docs/cluster.md)").add_argument
    add("--jobs", type=positive, metavar="N", help="runs at once (default: one for each core, or --jobs-per-gpu for"
        " each GPU)")  # fmt: skip
    add("--jobs-per-gpu", type=positive, default=1, metavar="N", help="runs that share one GPU; each run sees one alone"
        " (default 1)")  # fmt: skip
    add(LIST, action="store_true", help="run nothing; print one command for each unfinished run, with the runs that"
        " must end before it, for any scheduler")  # fmt: skip
    add("--cell", metavar="FOLDER", help="run this one alone, as --list names it; what it needs must be there")


def positive(text: str) -> int:
    """A whole number of at least one, from the command line."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def execute(cells: list["Cell"], args: argparse.Namespace, name: str, make_data: Callable[[], None]) -> int:
    """Run cells, or say how, as the options of `add_options` want it.

    Args:
        cells: every run of the study, in the order in which they should start.
        args: what the parser made of the options.
        name: of the study.
        make_data: makes the data that all cells share, or sees that they are there.

    Returns:
        The exit status: 0 where every cell finished.
    """
    if args.cell is not None:
        return run_alone(cells, args.cell, make_data)
    if args.list:
        print("\n".join(listing(cells, [word for word in sys.argv if not is_list(word)])), flush=True)
        return 0
    from study.local import Local
    from study.scheduler import Scheduler

    executor = Local(args.jobs, args.jobs_per_gpu)
    print(f"{name}: {len(cells)} runs, {executor.about}", flush=True)
    make_data()  # once, on all cores, before runs compete for them
    return Scheduler(cells, executor).run()


def is_list(word: str) -> bool:
    """Whether argparse would take a word for --list, which it lets people shorten."""
    return len(word) > len("--") and LIST.startswith(word)


def listing(cells: list["Cell"], words: list[str]) -> list[str]:
    """A line for each cell that is not finished: its number, the numbers of those that it waits for, its command.

    Args:
        words: of the command that makes these cells.
    """
    todo = [cell for cell in cells if cell.status() != "ok"]
    numbers = {cell.outcome: number for number, cell in enumerate(todo, start=1)}
    lines = ["# number\tafter\tcommand (exit status 0: done; 75: stopped by a signal, start it again; else: failed)"]
    for cell in todo:
        after = ",".join(str(numbers[path]) for path in cell.needs if path in numbers) or "-"
        command = shlex.join(["python", *words, "--cell", str(cell.folder)])
        lines.append(f"{numbers[cell.outcome]}\t{after}\t{command}")
    return lines


def run_alone(cells: list["Cell"], folder: str, make_data: Callable[[], None]) -> int:
    """Run the cell of a folder in this process.

    Raises:
        UserError: there is no such cell, what it needs is not there, or the run is refused.
    """
    from study.attempt import attempt
    from study.scheduler import summary

    cell = next((cell for cell in cells if cell.folder == Path(folder)), None)
    if cell is None:
        raise UserError(f"--cell {folder} is none of this study's {len(cells)} runs: {LIST} prints them")
    if lacking := [path for path in cell.needs if not path.is_file()]:
        raise UserError(f"{cell.name} needs {lacking[0]}, which is not there: run that cell first ({LIST} prints how)")
    if cell.status() == "failed":
        cell.outcome.unlink()  # tried again
    if cell.status() == "open":
        make_data()
        attempt(cell)
    print(f"{cell.name}: done{summary(cell)}", flush=True)
    return 0
