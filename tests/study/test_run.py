"""One run: what its training cannot do is a sentence."""

import pytest
import torch

from engine.errors import UserError
from engine.fit import fitting, own_layers
from study.run import normalised


def test_one_value_has_no_deviation():
    norm = torch.nn.BatchNorm2d(3)
    with pytest.raises(UserError, match="two values of each channel.*batch_size to 2 or more"), normalised():
        norm(torch.zeros(1, 3, 1, 1))
    with pytest.raises(ValueError, match="another"), normalised():
        raise ValueError("another")
    with normalised():
        norm(torch.zeros(2, 3, 1, 1))


def test_what_does_not_fit_is_a_sentence_until_training_has_reported(tmp_path):
    def broken(layers):
        with fitting("mine.py", layers, tmp_path):
            torch.zeros(2) + torch.zeros(3)

    mine = own_layers("seg_configs/upernet.py", None, {"model.decode_head.channels": 7})
    with pytest.raises(UserError, match=r"do not fit together \(RuntimeError in broken: .*--cfg-options .*traceback"):
        broken(mine)
    assert "torch.zeros(2) + torch.zeros(3)" in (tmp_path / "traceback.txt").read_text()
    with pytest.raises(RuntimeError):
        broken(own_layers("seg_configs/upernet.py", None, {}))  # a fault of ours
    (tmp_path / "curve.jsonl").write_text("{}\n")
    with pytest.raises(RuntimeError):
        broken(mine)


def test_a_full_device_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="memory is full .*accumulation=2"), fitting("mine.py", "", tmp_path):
        raise torch.OutOfMemoryError("tried to allocate 20 GiB")
