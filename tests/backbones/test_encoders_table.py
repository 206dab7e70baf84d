"""docs/encoders.md shows what benchmarks/encoders.py prints."""

import re
from pathlib import Path

import pytest

from benchmarks.encoders import ENCODERS, facts

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "encoders.md").read_text().partition("## Every family")[0]


def test_every_encoder_has_its_row():
    rows = re.findall(r"^\| ([^|`]+) \| `", DOCUMENT, re.M)
    assert rows == [label for label, *_ in ENCODERS]


@pytest.mark.parametrize("label", ["scale tiny", "ViT-S/16", "BEiT-B/16", "ResNet-18", "Swin-Nano", "MCi0"])
def test_numbers_are_the_commands(label):
    row = next(row for row in ENCODERS if row[0] == label)
    assert f"| {' | '.join(facts(*row[:3]))} | " in DOCUMENT
