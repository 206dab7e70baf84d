"""The words that commands which start a run have in common."""

import argparse

from mmengine.config import DictAction


def run_parser(text: str) -> argparse.ArgumentParser:
    """The words that every run takes."""
    words = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = words.add_argument
    add("config", help="a config file of pretrain/, seg_, det_, depth/ or recognition/configs")
    add("--encoder", metavar="NAME|FOLDER", help="whose encoder to fine-tune or test: a method's name, whose checkpoint"
        " of this scale and seed is taken, or a checkpoint folder")  # fmt: skip
    add("--checkpoint", metavar="FOLDER", help="checkpoint folder instead of the method's own, of this seed; in"
        " pretraining, to start or learn from instead of the parent's")  # fmt: skip
    add("--scale", default="tiny", help="overlay beside the config: tiny (default), study, paper (the published"
        " recipe), of COCO and NYUv2 further forms of it: docs/protocols.md")  # fmt: skip
    add("--seed", type=int, default=0, help="seed of weights, data, augmentation, masks (default 0); where nothing is"
        " drawn it only names the run")  # fmt: skip
    add("--data", help="data overlay: a file with data = dict(...) for your own data (README)")
    add("--work-dir", help="the run's folder (default runs/<scale>/<task>/<method>/seed<seed>; with a hash where the"
        " options depart from the study's own settings)")  # fmt: skip
    add("--cfg-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE",
        help="change any value: train_cfg.max_iters=2 optim_wrapper.optimizer.lr=5e-4 neighbours=10")  # fmt: skip
    add("--show", nargs="?", const="", metavar="KEY", help="print the merged configuration, or what is at and below"
        " KEY, with the layer that each value comes from, and stop")  # fmt: skip
    return words
