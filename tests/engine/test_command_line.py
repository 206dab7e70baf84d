"""What records say of the command that made them holds on other machines."""

import sys

from engine.provenance import REPOSITORY, command_line


def test_paths_within_the_checkout_are_relative_to_it(monkeypatch):
    words = [f"{REPOSITORY}/tools/train.py", f"{REPOSITORY}/seg_configs/upernet.py", "--data", "/mine/a b.py",
             f"data.root={REPOSITORY}/data/x"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    assert command_line() == "python tools/train.py seg_configs/upernet.py --data '/mine/a b.py' data.root=data/x"
