"""Two processes end where one process with the same global batch does."""

import os
import shutil
import subprocess
import sys

import torch
from safetensors.torch import load_file

from study.run import run


def test_two_processes_equal_one(configure, in_child, tmp_path):
    """CLIP gathers its features, so half a batch per process must give the gradient of the whole batch."""
    cfg = configure("pretrain/configs/clip.py", 3, tmp_path / "one", batch_size=8)
    assert in_child(lambda: run(cfg, "test")) == 0
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "tools/train.py",
        "pretrain/configs/clip.py", "--launcher", "pytorch", "--data", str(tmp_path / "small.py"),
        "--work-dir", str(tmp_path / "two"), "--cfg-options", "train_cfg.max_iters=3", "train_dataloader.batch_size=4",
    ]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (load_file(tmp_path / name / "checkpoint" / "encoder.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        other = two[name]
        if name.endswith(
            "qkv.bias"
        ):  # softmax ignores the keys' bias: its gradient is rounding, which Adam makes a step
            width = len(value) // 3
            value, other = (torch.cat([row[:width], row[2 * width :]]) for row in (value, other))
        torch.testing.assert_close(value, other, rtol=1e-3, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}")
    shutil.rmtree(tmp_path / "two")
