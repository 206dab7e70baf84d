"""What the mends are for: the libraries import, and nothing is done where nothing lacks."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.utils.dl_utils import mmcv_full_available

ROOT = Path(__file__).resolve().parents[2]


def run(code, *paths):
    """Run code in a new Python that sees the checkout; its output."""
    path = os.pathsep.join([str(ROOT), *map(str, paths)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_compat_alone_imports_none_of_what_it_mends():
    assert (
        run("""
import compat, sys
print(sorted({"torchvision", "mmcv", "mmdet", "mmseg", "timm", "cv2"} & set(sys.modules)))
""").strip()
        == "[]"
    )


def test_everything_imports():
    run("""
import compat
import timm, open_clip, torchvision.transforms.v2, torchvision.models
import mmcv.ops, mmdet.apis, mmdet.models, mmseg.apis, mmseg.models, mmengine.runner
""")


def test_mmcv_ext_is_found_and_names_what_it_lacks():
    import mmcv._ext
    import mmcv.ops

    assert mmcv_full_available()
    assert importlib.util.find_spec("mmcv._ext") is mmcv._ext.__spec__
    if isinstance(mmcv._ext.__spec__.loader, importlib.machinery.ExtensionFileLoader):
        return  # a compiled mmcv lacks nothing
    with pytest.raises(NotImplementedError, match="^mmcv operator 'softnms' .* install a compiled mmcv"):
        mmcv.ops.soft_nms(torch.ones(1, 4), torch.ones(1))
    with pytest.raises(AttributeError):
        mmcv._ext.__wrapped__  # noqa: B018


def test_a_compiled_mmcv_stays_in_charge(tmp_path):
    package = tmp_path / "mmcv"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_ext.py").write_text("compiled = True\n")
    assert run("import compat, mmcv._ext; print(mmcv._ext.compiled)", tmp_path).strip() == "True"


def test_loaded_torchvision_operators_stay_in_charge():
    """Where the extension loads (here: pretended) nothing is defined."""
    assert (
        run("""
import torch
torch.ops.load_library = lambda path: None
import compat
print(hasattr(torch.ops.torchvision, "nms"), hasattr(torch.ops.torchvision, "qnms"))
""").strip()
        == "False False"
    )


def test_torchvision_operator_answers():
    """Defined here or compiled, also for boxes that carry gradients."""
    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30.0]], requires_grad=True)
    assert torch.ops.torchvision.nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5).tolist() == [1, 2]
