"""Run teachers once over the training images and captions and store what they say (dataset reinforcement).

    python tools/train.py pretrain/configs/clip_aligned.py                       # a teacher, if there is none yet
    python tools/reinforce.py pretrain/configs/datacompdr.py --teacher runs/tiny/pretrain/clip_aligned/seed0/checkpoint

A teacher is a checkpoint folder of any method with a text tower; give --teacher twice for the mean of two. Shards,
captions and crops are those of the config, so that they fit the training that follows: for each image, A crops are
drawn and stored, and each teacher's embeddings of these crops and of all captions that training may show.

Training then shows one of the stored crops at a time and learns from the teachers without running them. The command
for it is printed at the end. The embeddings take 2 bytes x (A + captions) x sum of the teachers' widths a sample:
2 crops, 2 captions and a teacher of width 96 make 768 bytes, 15 million samples and two of width 768 make 184 GB.

An interrupted run goes on where it was; a finished one is not repeated. Training refuses a folder that was made from
other shards, captions or crops, or whose teacher has been trained anew since.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import start  # isort: split

from engine.errors import UserError


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    parser.add_argument("config", help="the config that will train on it, such as pretrain/configs/datacompdr.py")
    parser.add_argument("--teacher", action="append", required=True, help="checkpoint folder; once for each teacher")
    parser.add_argument("--scale", default="tiny", help="scale of the training (default tiny)")
    parser.add_argument("--data", help="data overlay, as in training")
    parser.add_argument("--augmentations", type=int, default=2, metavar="A", help="stored crops an image (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the crops (default 0)")
    parser.add_argument("--out", help="folder to write (default: reinforcement, beside the index of the shards)")
    parser.add_argument("--batch-size", type=int, default=64, help="samples at a time (default 64)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read and crop images (default 0)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the data if they are the embedded ones, load the teachers, reinforce, tell how to train."""
    args = parse_arguments(arguments)
    start.mend()  # the heavy imports, after the arguments are known to be good
    from study.configure import load_config

    if args.augmentations < 1:
        raise UserError(f"--augmentations {args.augmentations}: store at least one crop of each image")
    cfg = load_config(args.config, args.scale, data=args.data)

    from mmengine.device import get_device
    from mmengine.registry import DATASETS

    import pretrain
    from backbones.towers import Teacher
    from datasets.shards import cache_folder
    from pretrain.data.reinforce import reinforce
    from study.run import ensure_data

    if cfg.data.kind != "image_text":
        raise UserError(f"{args.config} learns from data of kind {cfg.data.kind!r}: captions are in 'image_text' alone")
    teachers = [Teacher(folder) for folder in args.teacher]
    ensure_data(cfg)
    pretrain.fill(cfg)
    dataset = cfg.train_dataloader.dataset
    out = args.out or cache_folder(Path(dataset.root)) / "reinforcement"
    manifest = reinforce(
        DATASETS.build(dataset),
        teachers,
        out,
        args.augmentations,
        args.seed,
        batch_size=args.batch_size,
        workers=args.workers,
        device=get_device(),
    )
    samples, crops, width = manifest["arrays"]["image"][1]
    print(f"{samples} samples, {crops} crops each, {len(teachers)} teachers, {width} values an embedding: {out}")
    print(
        f"python tools/train.py {args.config} --scale {args.scale} --cfg-options model.clip_weight=0.25 "
        f"model.distill_weight=0.75 train_dataloader.dataset.reinforcement={out}"
    )


if __name__ == "__main__":
    start.run(main, advice="the same command goes on where it was")
