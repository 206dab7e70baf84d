"""Compare encoders of any origin on your own data, in one table.

    python tools/compare.py --data data/roads/overlay.py --encoders my_run/checkpoint timm:resnet18.a1_in1k
    python tools/compare.py --data data/roads/overlay.py data/rooms/overlay.py --encoders a.pth b.pth --seeds 5 \\
        --name a.pth="ours, epoch 100" b.pth="ours, epoch 300" --tasks upernet depth

Every encoder is fine-tuned on every task that the data serve, beside random weights of its architecture and what needs
no encoder (the most frequent class, the mean depth map). All have the same budget, and with --grid the same trials on
validation images. The same command goes on where it was interrupted. It is a study in words (docs/study_files.md), and
ends in a table and in report/<scale>-<data>.
"""

import argparse
from collections.abc import Sequence

import start  # isort: split

from engine.errors import UserError
from study.executors import add_options, execute


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    add = parser.add_argument
    add("--data", nargs="+", required=True, metavar="OVERLAY", help="data overlays, as tools/prepare.py writes them")
    add("--encoders", nargs="+", required=True, metavar="ENCODER", help="checkpoint folders, published files,"
        " timm:NAME.TAG, hf:ORG/REPO, or methods of the suite, which are pretrained first")  # fmt: skip
    add("--pretrain-data", nargs="+", default=[], metavar="OVERLAY", help="what methods of the suite are pretrained on:"
        " each on the first that it can learn from (default: the embedded scenes)")  # fmt: skip
    add("--name", nargs="+", default=[], metavar="ENCODER=NAME", help="what tables call an encoder")
    add("--tasks", nargs="+", default=[], metavar="TASK", help="default: all that the data serve")
    add("--seeds", type=int, default=3, metavar="N", help="fine-tunings of each encoder (default %(default)s)")
    add("--scale", default="tiny", help="whose budgets the runs have (default %(default)s)")
    add("--grid", nargs="*", action=start.KeyValues, metavar="KEY=VALUES", help="choose learning rate and decay on"
        " validation images: lr=1e-3,2e-3 layer_decay=0.65,0.9 (alone: those of study/configs/full.py)")  # fmt: skip
    add("--cfg-options", nargs="+", action=start.KeyValues, default={}, metavar="KEY=VALUE",
        help="of every fine-tuning: train_cfg.max_iters=300")  # fmt: skip
    add_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; the exit status is 0 when every cell finished."""
    args = parse_arguments(arguments)
    if args.seeds < 1:
        raise UserError(f"--seeds {args.seeds}: it is the number of fine-tunings of each encoder, at least 1")
    start.mend()  # the heavy imports, after the arguments are known to be good
    from study import comparison
    from study.plan import complete, grid_of, named, study_of

    words = {
        "encoders": args.encoders, "data": args.data, "tasks": args.tasks, "seeds": list(range(args.seeds)),
        "scale": args.scale, "grid": grid_of(args.grid), "options": args.cfg_options,
        "pretrain_data": args.pretrain_data, "floor": True, "baselines": True,
    }  # fmt: skip
    study = study_of(complete(words, "the command line"), named(args.name, args.encoders))
    cells = study.cells(args.cell)
    status = execute(cells, args, f"comparison, scale {study.scale}", study.data_of)
    if not (args.list or args.detach or args.cell):
        print(f"\n{comparison.tables(cells)}\n", flush=True)
        print(*(f"Report: {page}" for page in comparison.write_reports(cells)), sep="\n")
    return status


if __name__ == "__main__":
    start.run(main, advice="run the same command again to go on")
