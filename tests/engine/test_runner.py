"""The file in which a run leaves its whole configuration."""

import pytest

from engine.config import read
from engine.runner import write_config
from study.configure import load_config


@pytest.mark.parametrize("path", ["seg_configs/upernet.py", "det_configs/mask_rcnn.py", "pretrain/configs/beit.py"])
def test_what_a_run_leaves_as_its_configuration_reads_back(path, tmp_path):
    """With the kinds of all values, texts longer than a line, quotes and other alphabets."""
    cfg = load_config(path, encoder=None if path.startswith("pretrain") else "mae")
    cfg.metainfo = {"words": ("it's", 'a "b"', "ä\\n\n", "many words " * 30), "none": None, 7: [(1e-30,), -0.0]}
    write_config(cfg, tmp_path)
    assert read(tmp_path / "config.py").to_dict() == cfg.to_dict()
