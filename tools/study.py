"""Run a whole study: every encoder on every task, for every seed, as many runs at once as there are cores.

STUDY is a study file (docs/study_files.md), or the name of one below study/configs: `demo` is that of `make demo`,
`full` that of `make study`, which answers to `study` too. Tests of whole images come once per encoder, zero-shot and
retrieval where it has a text tower; probes for every seed.

    python tools/study.py demo                   the short study of `make demo`
    python tools/study.py full                   the evidence of `make study`: twenty methods, three seeds, settings
                                                 chosen on validation images from one small grid
    python tools/study.py path/to/mine.py        a study of your own
    python tools/study.py full --encoders random oracle mae --tasks upernet depth --seeds 0 1

Interrupt it at any time and run it again: finished cells are never run twice, unfinished ones resume where they
stopped, failed ones are tried again. Nothing here writes a report; `python -m reports runs/<scale>` does. Each run gets
a GPU of its own where there are any; `--executor slurm` makes each a job of a cluster (docs/cluster.md).
"""

import argparse
from collections.abc import Sequence

import start  # isort: split

from study.executors import add_options, execute


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    names = ", ".join(sorted(path.stem for path in (start.ROOT / "study/configs").glob("[!_]*.py")))
    parser.add_argument("study", metavar="STUDY", help=f"a study file, or one of study/configs: {names}"
                        " (study means full)")  # fmt: skip
    parser.add_argument("--encoders", "--methods", nargs="+", metavar="ENCODER", help="default: those of the file")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="default: those of the file")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="default: those of the file")
    parser.add_argument(
        "--pretrain-anew", action="store_true", default=None,
        help="pretrain once per seed (default: once per method; seeds are those of fine-tuning)",
    )  # fmt: skip
    parser.add_argument("--no-trials", action="store_true",
                        help="skip the search: every run takes its config's learning rate and layer decay")  # fmt: skip
    add_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; the exit status is 0 when every cell finished."""
    args = parse_arguments(arguments)
    start.mend()  # the heavy imports, after the arguments are known to be good
    from study.plan import complete, read_plan, study_of

    asked = {key: getattr(args, key) for key in ("encoders", "tasks", "seeds", "pretrain_anew")}
    asked = {key: value for key, value in asked.items() if value is not None}
    plan = complete({**read_plan(args.study), **asked, **({"grid": None} if args.no_trials else {})}, args.study)
    study = study_of(plan)
    return execute(study.cells(args.cell), args, f"{args.study}, scale {study.scale}", study.data_of, plan["cluster"])


if __name__ == "__main__":
    start.run(main, advice="run the same command again to go on")
