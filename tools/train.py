"""Run any configuration: pretraining, segmentation, detection, depth, image classification, tests of an encoder.

    python tools/train.py pretrain/configs/maskclip.py
    python tools/train.py seg_configs/upernet.py --encoder maskclip
    python tools/train.py seg_configs/upernet_maskclip.py
    python tools/train.py det_configs/mask_rcnn.py --encoder path/to/checkpoint --data path/to/overlay.py
    python tools/train.py recognition/configs/linear_probe.py --encoder path/to/checkpoint --seed 1
    python tools/train.py seg_configs/upernet.py --encoder mae --show optim_wrapper.optimizer.lr
    torchrun --nproc-per-node 8 tools/train.py seg_configs/upernet.py --encoder mae --launcher pytorch --amp

Pretraining leaves <work-dir>/checkpoint; every other run leaves <work-dir>/result.json.
"""

import argparse
from collections.abc import Sequence

import start
from engine.switches import SWITCHES, flag_of


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.run_parser(__doc__, "a config file of pretrain/, seg_, det_, depth/, probes/ or recognition/configs")
    add = parser.add_argument
    add("--resume", action="store_true", help="go on from the newest state in the run's folder")
    add("--amp", action="store_true", help="bf16 autocast")
    add("--accumulation", type=int, metavar="N", help="make each update of N passes over parts of its batch; batch,"
        " updates and schedules stay what the recipe says")  # fmt: skip
    for switch, about in SWITCHES.items():
        add(flag_of(switch), action="store_true", help=about)
    add("--sink", choices=["tensorboard", "wandb"], help="also draw the training curves there; needs pip install"
        " tensorboard (or wandb) and changes nothing of the run")  # fmt: skip
    add("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="how processes were started"
        " (torchrun: pytorch)")  # fmt: skip
    add("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, run, report."""
    args = vars(parse_arguments(arguments))
    start.mend()  # the heavy imports, after the arguments are known to be good
    from engine.provenance import command_line
    from study.command import carry_out

    args.pop("local_rank")
    carry_out(args, command=command_line())


if __name__ == "__main__":
    start.run(main, advice="with --resume, the same command goes on from the newest state")
