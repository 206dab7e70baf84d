"""Test an encoder as it is on images as a whole: zero-shot, retrieval, k-NN, a linear or an attentive probe.

    python tools/test.py recognition/configs/zero_shot.py --encoder clip
    python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER --data path/to/overlay.py
    python tools/test.py recognition/configs/knn.py --checkpoint FOLDER --cfg-options neighbours=10

tools/train.py by another name, for what trains no network. Prints each measure with its 95 % bootstrap interval over
images and what guessing gives, and leaves them in <work-dir>/result.json, from which the report fills its image-level
columns.
"""

import shlex
import sys
from collections.abc import Sequence

from train import run_parser

import start


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, test, report."""
    args = vars(run_parser(__doc__).parse_args(arguments))
    start.mend()  # the heavy imports, after the arguments are known to be good
    from study.command import carry_out

    carry_out(args, command=shlex.join(["python", *sys.argv]), only_tests=True)


if __name__ == "__main__":
    start.run(main)
