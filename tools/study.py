"""Run a whole study: every method on every task, for every seed, as many runs at once as there are cores.

Zero-shot, retrieval and k-NN come once per encoder, the first two where it has a text tower; probes for every seed.

    python tools/study.py demo                   the short study of `make demo`
    python tools/study.py study                  the evidence of `make study`: all methods, three seeds, settings chosen
                                                 on validation images from one small grid
    python tools/study.py study --methods random oracle mae --tasks upernet depth --seeds 0 1

Interrupt it at any time and run it again: finished cells are never run twice, unfinished ones resume where they
stopped, failed ones are tried again. Nothing here writes a report; `python -m reports runs/<scale>` does. Each run gets
a GPU of its own where there are any; `--list` prints the commands for a scheduler of another kind.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass

import start  # isort: split

from engine import catalogue
from study.executors import add_options, execute

# What every plan has, and what only `--tasks` asks for.
TASKS, ON_DEMAND = (tuple(t.id for t in catalogue.TASKS if t.study == when) for when in ("always", "asked"))


@dataclass(frozen=True)
class Plan:
    """The defaults of a named study."""

    scale: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    grid: dict[str, tuple[float, ...]] | None


PLANS = {
    "demo": Plan("tiny", catalogue.started("demo"), (0,), None),
    "study": Plan("study", catalogue.started("study"), (0, 1, 2), {"lr": (2e-3, 4e-3), "layer_decay": (0.5, 0.75)}),
}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    parser.add_argument("plan", choices=PLANS)
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="default: those of the plan")
    parser.add_argument("--tasks", nargs="+", choices=(*TASKS, *ON_DEMAND), default=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, help="default: those of the plan")
    parser.add_argument(
        "--pretrain-anew", action="store_true",
        help="pretrain once per seed (default: once per method; seeds are those of fine-tuning)",
    )  # fmt: skip
    parser.add_argument("--no-trials", action="store_true",
                        help="skip the search: every run takes its config's learning rate and layer decay")  # fmt: skip
    add_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; the exit status is 0 when every cell finished."""
    args = parse_arguments(arguments)
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # looking for a GPU must not start CUDA before the fork
    start.mend()  # the heavy imports, after the arguments are known to be good
    from study.cells import Study
    from study.configure import load_config

    plan = PLANS[args.plan]
    methods, tasks, seeds = (tuple(dict.fromkeys(chosen)) for chosen in  # each once
                             (args.methods or plan.methods, args.tasks, args.seeds or plan.seeds))  # fmt: skip
    grid = None if args.no_trials else plan.grid
    cells = Study(plan.scale, methods, tasks, seeds, grid, args.pretrain_anew).cells()

    def make_data() -> None:
        from study.run import ensure_data

        ensure_data(load_config(cells[0].path, plan.scale))

    return execute(cells, args, f"{args.plan}, scale {plan.scale}", make_data)


if __name__ == "__main__":
    start.run(main, advice="run the same command again to go on")
