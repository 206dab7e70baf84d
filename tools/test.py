"""Test a checkpoint on an image-level task: zero-shot classification, retrieval, k-NN, or a linear or attentive probe.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint runs/tiny/pretrain/clip/seed0/checkpoint
    python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER --data path/to/overlay.py
    python tools/test.py recognition/configs/knn.py --checkpoint FOLDER --cfg-options neighbours=10

Prints each measure with its 95 % bootstrap interval over images and what guessing gives, and leaves them in
<work-dir>/result.json, from which `python -m reports` fills its image-level columns.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import compat  # noqa: E402, F401, I001
from mmengine.config import DictAction  # noqa: E402

from engine.errors import UserError, tell  # noqa: E402
from recognition.config import load_test  # noqa: E402


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a config file of recognition/configs")
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER",
                        help="checkpoint folder; zero-shot and retrieval need one with a text tower")  # fmt: skip
    parser.add_argument("--scale", default="tiny", help="overlay beside the config: tiny (default), study, ...")
    parser.add_argument("--seed", type=int, default=0, help="seed of a probe's training (default 0); where nothing is"
                        " drawn it only names the run")  # fmt: skip
    parser.add_argument("--data", help="a file with data = dict(...) and what else replaces the config's own values")
    parser.add_argument("--work-dir", help="the run's folder (default runs/<scale>/<task>/<method>/seed<seed>; with a"
                        " hash where --checkpoint or --cfg-options depart from the method's own)")  # fmt: skip
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE",
                        help="change any value: neighbours=10 prefix='a photo of'")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    """Parse, test, report."""
    args = parse_arguments()
    cfg = load_test(args.config, args.checkpoint, args.scale, args.seed, args.data, args.work_dir, args.cfg_options)
    print(f"{cfg.task} {cfg.method}  scale {cfg.scale}  data {cfg.data.name}  -> {cfg.work_dir}", flush=True)
    from study.run import run_test  # the heavy imports, after the arguments are known to be good

    record = run_test(cfg, command=shlex.join(["python", *sys.argv]))
    from recognition.record import table

    print(f"{table(record)}\nrecord: {cfg.work_dir}/result.json")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(tell(error))
