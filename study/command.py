"""What tools/train.py and tools/test.py do with their words."""

from typing import Any

from engine.config import Trace
from engine.errors import UserError
from study.configure import load_config, trained


def carry_out(words: dict[str, Any], command: str, only_tests: bool = False) -> None:
    """Show a configuration or run it, and print what came of it and where it lies.

    Args:
        words: the arguments of `load_config`, and show (a key, "" for all, None to run), cfg_options, sink.
        command: the command line that repeats the run, for the record.
        only_tests: refuse a configuration that trains.
    """
    words, trace = dict(words), Trace(asked=words["show"] is not None)
    path, key, sink = words.pop("config"), words.pop("show"), words.pop("sink", None)
    cfg = load_config(path, options=words.pop("cfg_options"), trace=trace, **words)
    if only_tests and trained(cfg):
        raise UserError(f"{path} trains at scale {cfg.scale!r}: start it by python tools/train.py with the same words")
    if key is not None:
        print("\n".join(trace.lines(key)))
        return
    from engine.sinks import check_sink  # the heavy imports, after the configuration is known to be good

    check_sink(sink)
    from study.run import finish

    name = cfg.run_name if trained(cfg) else f"{cfg.task} {cfg.method}"
    print(f"{name}  scale {cfg.scale}  data {cfg.data.name}  -> {cfg.work_dir}", flush=True)
    print(finish(cfg, command, sink))
