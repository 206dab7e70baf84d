"""Where the cells of a study run, for every command that starts some: here, as jobs of a cluster, or by other hands."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config

    from study.cells import Cell
    from study.scheduler import Executor

    DataOf = Callable[[list[Cell]], list[Config]]

os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # looking for a GPU must not start CUDA before the fork
LIST = "--list"
DATA = "data"  # in the place of a cell's folder: make the data that cells share


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `execute` reads. Nothing heavy is imported for them."""
    add = parser.add_argument_group("where the runs go (docs/cluster.md)").add_argument
    add("--executor", choices=("local", "slurm"), default="local", help="processes of this machine (default), or jobs"
        " of a SLURM cluster, one a run, each submitted to follow those it needs")  # fmt: skip
    add("--jobs", type=positive, metavar="N", help="runs at once (default: here, one for each core, or --jobs-per-gpu"
        " for each GPU; on a cluster no limit, and with one, the stages of the study follow one another)")  # fmt: skip
    add("--jobs-per-gpu", type=positive, default=1, metavar="N", help="runs of this machine that share one GPU; each"
        " run sees one alone (default 1)")  # fmt: skip
    add(LIST, action="store_true", help="run nothing; print one command for each unfinished run, with the runs that"
        " must end before it, for any scheduler")  # fmt: skip
    add("--cell", metavar="FOLDER", help="run this one alone, as --list names it; what it needs must be there")
    add = parser.add_argument_group("what each job of a cluster asks for").add_argument
    add("--partition", help="default: the cluster's")
    add("--time", type=positive, metavar="MINUTES", help="after which a run is stopped, its state saved, and put back"
        " into the queue to go on (default 1440)")  # fmt: skip
    add("--memory", type=positive, metavar="GIB", help="default: the cluster's")
    add("--cpus", type=positive, metavar="N", help="cores (default: the cluster's)")
    add("--gpus", type=int, choices=(0, 1), help="default 1")
    add("--sbatch", nargs="+", type=pair, metavar="KEY=VALUE", help="further options of sbatch: account=lab qos=low")
    add("--detach", action="store_true", default=None, help="submit and leave; the same command without"
        " it follows the jobs")  # fmt: skip


def pair(text: str) -> tuple[str, str]:
    """A name and its value, from the command line."""
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError(f"{text!r} is not like account=lab")
    return name.lstrip("-"), value


def positive(text: str) -> int:
    """A whole number of at least one, from the command line."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def execute(
    cells: list["Cell"],
    args: argparse.Namespace,
    name: str,
    data_of: "DataOf",
    cluster: Mapping[str, Any] | None = None,
) -> int:
    """Run cells, or say how, as the options of `add_options` want it.

    Args:
        cells: every run of the study, in the order in which they should start; with `--cell` at least that one.
        args: what the parser made of the options.
        name: of the study.
        data_of: the configurations of the data that cells read, which are made first, once.
        cluster: what the study's file states of `study.slurm.Resources`; options go before it.

    Returns:
        The exit status: 0 where every cell finished.
    """
    words = [word for word in sys.argv if not is_list(word)]
    if args.cell is not None:
        return run_alone(cells, args.cell, data_of)
    if args.list:
        print("\n".join(listing(cells, words, ready(data_of(cells)))), flush=True)
        return 0
    from study.scheduler import Scheduler, unfinished

    slurm = args.executor == "slurm"
    executor = on_slurm(args, words, data_of(cells), cluster) if slurm else on_this_machine(args)
    print(f"{name}: {len(cells)} runs, {executor.about}", flush=True)
    if args.detach:
        executor.begin(unfinished(cells))
        return 0
    if not slurm:
        make(data_of(cells))  # once, on all cores, before runs compete for them
    return Scheduler(cells, executor).run()


def on_this_machine(args: argparse.Namespace) -> "Executor":
    """The executor of `--executor local`. UserError for options that it does not read."""
    for option in ("partition", "time", "memory", "cpus", "gpus", "sbatch", "detach"):
        if getattr(args, option) is not None:
            raise UserError(f"--{option} is for jobs of a cluster: add --executor slurm, or leave it out")
    from study.local import Local

    return Local(args.jobs, args.jobs_per_gpu)


def on_slurm(
    args: argparse.Namespace, words: list[str], data: Sequence["Config"], cluster: Mapping[str, Any] | None
) -> "Executor":
    """The executor of `--executor slurm`."""
    from study.slurm import Resources, Slurm

    given = {option: getattr(args, option) for option in ("partition", "time", "memory", "cpus", "gpus")}
    given["sbatch"] = dict(args.sbatch) if args.sbatch else None
    return Slurm(Resources.of(cluster or {}, given), words, args.jobs, ready(data))


def ready(data: Sequence["Config"]) -> bool:
    """Whether nothing has to be rendered."""
    roots = {cfg.data.scenes_root for cfg in data if cfg.data.get("scenes_root")}
    return all(Path(root, "manifest.json").is_file() for root in roots)


def make(data: Sequence["Config"]) -> None:
    """Render what is missing; UserError where data of the user's own are."""
    from study.run import ensure_data

    for cfg in data:
        ensure_data(cfg)


def is_list(word: str) -> bool:
    """Whether argparse would take a word for --list, which it lets people shorten."""
    return len(word) > len("--") and LIST.startswith(word)


def listing(cells: list["Cell"], words: list[str], data_ready: bool = True) -> list[str]:
    """A line for each cell that is not finished: its number, the numbers of those that it waits for, its command.

    Args:
        words: of the command that makes these cells.
        data_ready: otherwise the first line makes the data, and all wait for it.
    """
    todo = [cell for cell in cells if cell.status() != "ok"]
    numbers = {cell.outcome: number for number, cell in enumerate(todo, start=1)}
    rows = [] if data_ready else [(0, [], DATA)]
    for cell in todo:
        after = [numbers[path] for path in cell.needs if path in numbers]
        rows.append((numbers[cell.outcome], after if data_ready else [0, *after], str(cell.folder)))
    lines = ["# number\tafter\tcommand (exit status 0: done; 75: stopped by a signal, start it again; else: failed)"]
    for number, after, folder in rows:
        command = shlex.join(["python", *words, "--cell", folder])
        lines.append(f"{number}\t{','.join(map(str, after)) or '-'}\t{command}")
    return lines


def run_alone(cells: list["Cell"], folder: str, data_of: "DataOf") -> int:
    """Run the cell of a folder in this process, or make the data.

    Raises:
        UserError: there is no such cell, what it needs is not there, or the run is refused.
    """
    from study.attempt import attempt
    from study.scheduler import summary

    if folder == DATA:
        make(data_of(cells))
        return 0
    cell = next((cell for cell in cells if cell.folder == Path(folder)), None)
    if cell is None:
        raise UserError(f"--cell {folder} is none of this study's {len(cells)} runs: {LIST} prints them")
    if lacking := [path for path in cell.needs if not path.is_file()]:
        raise UserError(f"{cell.name} needs {lacking[0]}, which is not there: run that cell first ({LIST} prints how)")
    if cell.status() == "failed":
        cell.outcome.unlink()  # tried again
    if cell.status() == "open":
        make(data_of([cell]))
        attempt(cell)
    print(f"{cell.name}: done{summary(cell)}", flush=True)
    return 0
