"""Test an encoder as it is, by dense probes of its maps or on whole images, or a finished run's model again.

    python tools/test.py recognition/configs/zero_shot.py --encoder clip
    python tools/test.py probes/configs/linear_seg.py --encoder clip
    python tools/test.py recognition/configs/retrieval.py --checkpoint FOLDER --data path/to/overlay.py
    python tools/test.py recognition/configs/knn.py --checkpoint FOLDER --cfg-options neighbours=10
    python tools/test.py runs/tiny/upernet/mae/seed0 --save-predictions
    python tools/test.py runs/tiny/upernet/mae/seed0 --data path/to/overlay.py

With a config: linear and k-NN segmentation, linear depth; zero-shot, retrieval, k-NN, a linear or an attentive probe;
tools/train.py by another name, for what trains no network. Prints each measure with its 95 % bootstrap interval over
images and what guessing gives.

With the folder of a finished run: its model.safetensors is tested again, on its own test images or on the test split of
--data, whose classes must be those that it learned. Neither training images nor the encoder's checkpoint are needed.
The record goes to runs/tests/... or to --work-dir; on the run's own data its numbers are those of the run's record.

Every test leaves <work-dir>/result.json.
"""

from collections.abc import Sequence

import start


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, test, report."""
    first = "a config file of probes/ or recognition/configs, or the folder of a finished run"
    args = vars(start.run_parser(__doc__, first).parse_args(arguments))
    start.mend()  # the heavy imports, after the arguments are known to be good
    from engine.provenance import command_line
    from study.command import carry_out

    carry_out(args, command=command_line(), only_tests=True)


if __name__ == "__main__":
    start.run(main)
