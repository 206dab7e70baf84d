"""Test a checkpoint on an image-level task, without training: zero-shot classification, retrieval or k-NN.

    python tools/test.py recognition/configs/zero_shot.py --checkpoint runs/tiny/pretrain/clip/seed0/checkpoint
    python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER --data path/to/overlay.py
    python tools/test.py recognition/configs/knn.py --checkpoint FOLDER

Prints each measure with its 95 % bootstrap interval over images and what guessing gives. It leaves no record.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import compat  # noqa: E402, F401, I001
from engine.config import merge_scale, read  # noqa: E402
from engine.errors import UserError, tell  # noqa: E402

# what a data section states beside name, kind and root, by task
NEEDS = {"zero_shot": (), "retrieval": ("pattern",), "knn": ("train", "test")}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a config file of recognition/configs")
    parser.add_argument("--checkpoint", required=True, help="checkpoint folder; all but k-NN need a text tower")
    parser.add_argument("--scale", default="tiny", help="overlay beside the config (default: %(default)s)")
    parser.add_argument("--data", help="a file with data = dict(...) and what else replaces the config's own values")
    return parser.parse_args()


def main() -> None:
    """Parse, test, print."""
    args = parse_arguments()
    cfg = read(Path(args.config))
    if cfg.get("task") not in NEEDS:
        raise UserError(f"{args.config} is no config of recognition/configs: use python tools/train.py for it")
    merge_scale(cfg, Path(args.config), args.scale)
    cfg.scale = args.scale
    for key, value in (read(Path(args.data)) if args.data else {}).items():
        cfg[key] = value  # replaced, not merged: another data set's questions have nothing to do with these
    for key in ("name", "kind", "root", *NEEDS[cfg.task]):
        if cfg.get("data", {}).get(key) is None:
            raise UserError(f"the data section of {args.data or args.config} has no {key!r}: {cfg.task} needs it")
    if cfg.data.kind == "attributes" and cfg.task == "zero_shot" and cfg.data.get("labels") is None:
        raise UserError(f"the data section of {args.data or args.config} has no 'labels': kind 'attributes' needs it")
    for name, asked in cfg.get("questions", {}).items():
        if asked.get("templates") is None:
            raise UserError(f"question {name!r} has no templates: give it a list of prompts or a published list")
    # the heavy imports, after the arguments are known to be good
    from recognition.evaluation import nearest_neighbours, retrieval, zero_shot
    from recognition.towers import Features, Towers
    from scenes.attributes import ensure_attributes
    from tools.run import ensure_data

    # before the data: nobody should wait for scenes to learn that it is missing
    model = (Features if cfg.task == "knn" else Towers)(args.checkpoint)
    ensure_data(cfg)
    if cfg.data.name == "scenes" and cfg.task == "zero_shot":
        ensure_attributes(cfg.data.root, cfg.data.split)
    print(f"{cfg.task} {model.meta['method']}  scale {cfg.scale}  data {cfg.data.name}", flush=True)
    if cfg.task == "zero_shot":
        measures = zero_shot(cfg.data, cfg.questions, model)
    elif cfg.task == "retrieval":
        measures = retrieval(cfg.data, cfg.captions, model)
    else:
        measures = nearest_neighbours(cfg.data, cfg.neighbours, model)
    print(*measures, sep="\n")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(tell(error))
