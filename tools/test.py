"""Test an encoder as it is on images as a whole: zero-shot, retrieval, k-NN, a linear or an attentive probe.

    python tools/test.py recognition/configs/zero_shot.py --encoder clip
    python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER --data path/to/overlay.py
    python tools/test.py recognition/configs/knn.py --checkpoint FOLDER --cfg-options neighbours=10

The same as tools/train.py, for what trains no network. Prints each measure with its 95 % bootstrap interval over images
and what guessing gives, and leaves them in <work-dir>/result.json, from which `python -m reports` fills its image-level
columns.
"""

import os
import shlex
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import compat  # noqa: E402, F401, I001
from engine.config import Trace  # noqa: E402
from engine.errors import UserError, tell  # noqa: E402
from study.configure import load_config, trained  # noqa: E402
from study.words import run_parser  # noqa: E402


def main() -> None:
    """Parse, test, report."""
    args, trace = vars(run_parser(__doc__).parse_args()), Trace()
    path, key = args.pop("config"), args.pop("show")
    cfg = load_config(path, options=args.pop("cfg_options"), trace=trace, **args)
    if trained(cfg):
        raise UserError(f"{path} trains at scale {cfg.scale!r}: start it by python tools/train.py with the same words")
    if key is not None:
        print("\n".join(trace.lines(key)))
        return
    print(f"{cfg.task} {cfg.method}  scale {cfg.scale}  data {cfg.data.name}  -> {cfg.work_dir}", flush=True)
    from study.run import finish  # the heavy imports, after the arguments are known to be good

    print(finish(cfg, shlex.join(["python", *sys.argv])))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(tell(error))
