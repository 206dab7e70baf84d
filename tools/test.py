"""Test a checkpoint on an image-level task: zero-shot classification, retrieval, k-NN, or a linear or attentive probe.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint runs/tiny/pretrain/clip/seed0/checkpoint
    python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER --data path/to/overlay.py
    python tools/test.py recognition/configs/knn.py --checkpoint FOLDER --cfg-options neighbours=10

Prints each measure with its 95 % bootstrap interval over images and what guessing gives, and leaves them in
<work-dir>/result.json, from which `python -m reports` fills its image-level columns.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

import start


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    parser.add_argument("config", help="a config file of recognition/configs")
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER",
                        help="checkpoint folder; zero-shot and retrieval need one with a text tower")  # fmt: skip
    parser.add_argument("--scale", default="tiny", help="overlay beside the config: tiny (default), study, ...")
    parser.add_argument("--seed", type=int, default=0, help="seed of a probe's training (default 0); where nothing is"
                        " drawn it only names the run")  # fmt: skip
    parser.add_argument("--data", help="a file with data = dict(...) and what else replaces the config's own values")
    parser.add_argument("--work-dir", help="the run's folder (default runs/<scale>/<task>/<method>/seed<seed>; with a"
                        " hash where --checkpoint or --cfg-options depart from the method's own)")  # fmt: skip
    parser.add_argument("--cfg-options", nargs="+", action=start.KeyValues, default={}, metavar="KEY=VALUE",
                        help="change any value: neighbours=10 prefix='a photo of'")  # fmt: skip
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, test, report."""
    args = parse_arguments(arguments)
    start.mend()  # the heavy imports, after the arguments are known to be good
    from recognition.config import load_test

    cfg = load_test(args.config, args.checkpoint, args.scale, args.seed, args.data, args.work_dir, args.cfg_options)
    print(f"{cfg.task} {cfg.method}  scale {cfg.scale}  data {cfg.data.name}  -> {cfg.work_dir}", flush=True)
    from study.run import run_test

    record = run_test(cfg, command=shlex.join(["python", *sys.argv]))
    from recognition.record import table

    print(f"{table(record)}\nrecord: {cfg.work_dir}/result.json")


if __name__ == "__main__":
    start.run(main)
