"""One run: what its training cannot do is a sentence."""

import pytest
import torch

from engine.errors import UserError
from study.run import normalised


def test_one_value_has_no_deviation():
    norm = torch.nn.BatchNorm2d(3)
    with pytest.raises(UserError, match="two values of each channel.*batch_size to 2 or more"), normalised():
        norm(torch.zeros(1, 3, 1, 1))
    with pytest.raises(ValueError, match="another"), normalised():
        raise ValueError("another")
    with normalised():
        norm(torch.zeros(2, 3, 1, 1))
