"""What tools/train.py and tools/test.py do with their words."""

import gc
from pathlib import Path
from typing import Any

from engine.config import Trace
from engine.errors import UserError
from engine.fit import fitting, own_layers
from engine.switches import with_flags
from study.configure import load_config, trained

# What a finished run has of its own, and the value that says it was not asked for.
SETTLED = {"encoder": None, "checkpoint": None, "scale": "tiny", "seed": 0, "cfg_options": {}, "show": None}


def carry_out(words: dict[str, Any], command: str, only_tests: bool = False) -> None:
    """Show a configuration or run it, and print what came of it and where it lies.

    Args:
        words: the arguments of `load_config`, and show (a key, "" for all, None to run), cfg_options, sink,
            save_predictions.
        command: the command line that repeats the run, for the record.
        only_tests: refuse a configuration that trains.
    """
    if only_tests and Path(words["config"]).is_dir():
        carry_out_again(words, command)
        return
    words, trace = dict(words), Trace(asked=words["show"] is not None)
    path, key, sink = words.pop("config"), words.pop("show"), words.pop("sink", None)
    save_predictions = words.pop("save_predictions")
    options = with_flags(words.pop("cfg_options"), words)
    layers = own_layers(path, words["data"], options)
    cfg = load_config(path, options=options, trace=trace, **words)
    if only_tests and trained(cfg):
        raise UserError(f"{path} trains at scale {cfg.scale!r}: start it by python tools/train.py with the same words")
    if key is not None:
        print("\n".join(trace.lines(key)))
        return
    from engine.sinks import check_sink  # the heavy imports, after the configuration is known to be good

    check_sink(sink)
    from study.run import finish

    gc.freeze()  # each of mmengine's data sets has the collector look through all that libraries made
    name = cfg.run_name if trained(cfg) else f"{cfg.task} {cfg.method}"
    print(f"{name}  scale {cfg.scale}  data {cfg.data.name}  -> {cfg.work_dir}", flush=True)
    with fitting(path, layers, Path(cfg.work_dir)):
        print(finish(cfg, command, sink, save_predictions))


def carry_out_again(words: dict[str, Any], command: str) -> None:
    """Test the finished run whose folder stands for the config, and print what came of it."""
    from study.retest import test_again

    gc.freeze()  # as above
    for name, default in SETTLED.items():
        if words[name] != default:
            flag = name.replace("_", "-")
            raise UserError(f"{words['config']} is a finished run, whose settings stand: leave out --{flag}")
    print(test_again(words["config"], command, words["data"], words["work_dir"], words["save_predictions"]))
