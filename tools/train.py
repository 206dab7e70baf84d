"""Run any configuration: pretraining, segmentation, detection, depth or image classification.

    python tools/train.py pretrain/configs/maskclip.py
    python tools/train.py seg_configs/upernet_maskclip.py
    python tools/train.py det_configs/mask_rcnn_mae.py --seed 1 --work-dir runs/mine
    python tools/train.py depth/configs/clip.py --checkpoint path/to/checkpoint --data path/to/overlay.py
    python tools/train.py recognition/configs/finetune.py --checkpoint path/to/checkpoint
    torchrun --nproc-per-node 8 tools/train.py seg_configs/upernet_mae.py --launcher pytorch --amp

Pretraining leaves <work-dir>/checkpoint; every other run leaves <work-dir>/result.json.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

import start


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    parser.add_argument("config", help="a config file of pretrain/, seg_, det_, depth/ or recognition/configs")
    parser.add_argument("--scale", default="tiny", help="overlay beside the config: tiny (default), study, paper (the"
                        " published recipe), of COCO and NYUv2 further forms of it: docs/protocols.md")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, data, augmentation, masks (default 0)")
    parser.add_argument("--checkpoint", help="checkpoint folder to fine-tune (default: the method's own, of this seed);"
                        " in pretraining, to start or learn from (default: the parent's)")  # fmt: skip
    parser.add_argument("--data", help="data overlay: a file with data = dict(...) for your own data (README)")
    parser.add_argument("--work-dir", help="the run's folder (default runs/<scale>/<task>/<method>/seed<seed>)")
    parser.add_argument("--resume", action="store_true", help="go on from the newest state in the run's folder")
    parser.add_argument("--amp", action="store_true", help="bf16 autocast")
    parser.add_argument("--cfg-options", nargs="+", action=start.KeyValues, default={}, metavar="KEY=VALUE",
                        help="change any value: train_cfg.max_iters=2 optim_wrapper.optimizer.lr=5e-4")  # fmt: skip
    parser.add_argument("--sink", choices=["tensorboard", "wandb"], help="also draw the training curves there; needs"
                        " pip install tensorboard (or wandb) and changes nothing of the run")  # fmt: skip
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none",
                        help="how processes were started (torchrun: pytorch)")  # fmt: skip
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, run, report."""
    args = parse_arguments(arguments)
    start.mend()  # the heavy imports, after the arguments are known to be good
    from engine.config import load_config

    cfg = load_config(
        args.config, args.scale, args.seed, args.checkpoint, data=args.data, work_dir=args.work_dir,
        options=args.cfg_options, amp=args.amp, resume=args.resume, launcher=args.launcher,
    )  # fmt: skip
    print(f"{cfg.run_name}  scale {cfg.scale}  data {cfg.data.name}  -> {cfg.work_dir}", flush=True)
    from engine.sinks import check_sink

    check_sink(args.sink)
    from study.run import headline, run

    record = run(cfg, command=shlex.join(["python", *sys.argv]), sink=args.sink)
    if record is not None:
        print(f"{headline(record)}\nrecord: {cfg.work_dir}/result.json")
    elif cfg.task == "pretrain":
        print(f"checkpoint: {cfg.work_dir}/checkpoint")


if __name__ == "__main__":
    start.run(main, advice="with --resume, the same command goes on from the newest state")
