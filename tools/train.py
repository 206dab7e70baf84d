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
import os
import shlex
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core beats one process on all cores at tiny scale
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import compat  # noqa: E402, F401, I001
from engine.config import Trace  # noqa: E402
from engine.errors import UserError, tell  # noqa: E402
from study.configure import load_config  # noqa: E402
from study.words import run_parser  # noqa: E402


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    words = run_parser(__doc__)
    add = words.add_argument
    add("--resume", action="store_true", help="go on from the newest state in the run's folder")
    add("--amp", action="store_true", help="bf16 autocast")
    add("--sink", choices=["tensorboard", "wandb"], help="also draw the training curves there; needs pip install"
        " tensorboard (or wandb) and changes nothing of the run")  # fmt: skip
    add("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="how processes were started"
        " (torchrun: pytorch)")  # fmt: skip
    add("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return words.parse_args()


def main() -> None:
    """Parse, run, report."""
    args, trace = vars(parse_arguments()), Trace()
    key, sink, _ = args.pop("show"), args.pop("sink"), args.pop("local_rank")
    cfg = load_config(args.pop("config"), options=args.pop("cfg_options"), trace=trace, **args)
    if key is not None:
        print("\n".join(trace.lines(key)))
        return
    print(f"{cfg.run_name}  scale {cfg.scale}  data {cfg.data.name}  -> {cfg.work_dir}", flush=True)
    from study.run import finish  # the heavy imports, after the arguments are known to be good

    print(finish(cfg, shlex.join(["python", *sys.argv]), sink))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(tell(error))
