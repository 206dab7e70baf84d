"""The way out to ONNX: an encoder, or a finished segmentation or depth model, for one input size.

The input is `pixels`, float32 [1, 3, H, W], RGB in 0..1: mean and std are part of the file. Attention and windows are
traced for one size; another size is another export.
"""

import importlib.util
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from backbones import load_encoder
from backbones.checkpoint import META
from engine.errors import UserError
from engine.files import atomic_path
from study.finished import RECORD, Finished

NEEDED = ("onnx", "onnxscript")
OPSET = 20


class EncoderGraph(nn.Module):
    """pixels -> (features, pooled): what timm's `forward_features` gives, and the encoder's own pooling of it."""

    def __init__(self, encoder: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """RGB [1, 3, H, W] in 0..1 -> features, pooled."""
        features = self.encoder.forward_features((pixels - self.mean) / self.std)
        return features, self.encoder.forward_head(features)


class DenseGraph(nn.Module):
    """pixels -> scores [1, K, H, W] of each class before the softmax, or depth [1, 1, H, W] in metres."""

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.size = model, size
        processor = model.data_preprocessor
        self.register_buffer("mean", processor.mean.reshape(3, 1, 1) / 255)
        self.register_buffer("std", processor.std.reshape(3, 1, 1) / 255)

    def forward(self, pixels: Tensor) -> Tensor:
        """RGB [1, 3, H, W] in 0..1 -> one map a class, or depth."""
        meta = {"img_shape": self.size, "pad_shape": self.size, "ori_shape": self.size}
        return self.model.encode_decode((pixels - self.mean) / self.std, [meta])


def to_onnx(source: str | Path, out: str | Path) -> str:
    """Write an encoder or a finished model as ONNX; return what it takes and gives.

    Args:
        source: a checkpoint folder, whose own input size is taken, or the folder of a finished segmentation or depth
            run, whose test's input size is taken (of a sliding window: the window's).
        out: the .onnx file.

    Raises:
        UserError: neither folder, a detector, another suffix, a library that is not here, or a model that cannot be
            exported.
    """
    source, out = Path(source), Path(out)
    if out.suffix != ".onnx":
        raise UserError(f"{out}: name a file that ends in .onnx")
    check_libraries()
    if (source / META).is_file() or not (source / RECORD).is_file():
        encoder, meta, _ = load_encoder(source)
        size, names = (meta["image"]["size"],) * 2, ["features", "pooled"]
        graph: nn.Module = EncoderGraph(encoder.eval(), meta["image"]["mean"], meta["image"]["std"])
    else:
        graph, size, names = finished_graph(Finished.read(source))
    pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with atomic_path(out) as temporary:
        quietly(lambda: export(graph.eval(), pixels, temporary, names), str(source))
    return f"{out}: pixels [1, 3, {size[0]}, {size[1]}] (RGB in 0..1) -> {', '.join(names)}"


def finished_graph(run: Finished) -> tuple[DenseGraph, tuple[int, int], list[str]]:
    """A run's model for export, its input size and the names of what it gives. UserError for a detector."""
    kind = run.cfg.data.kind
    if kind not in ("seg", "depth") or run.cfg.task == "pretrain":
        raise UserError(f"{run.folder}: --to onnx takes encoders, segmentation and depth, not {run.cfg.task}")
    test = run.cfg.model.get("test_cfg") or {}
    size = tuple(test.crop_size) if test.get("mode") == "slide" else tuple(run.cfg.data["size"])
    return DenseGraph(run.model(), size), size, ["scores" if kind == "seg" else "depth"]


def check_libraries() -> None:
    """UserError with the command that installs what is missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--to onnx needs {' and '.join(missing)}: pip install -r requirements-optional.txt")


def export(graph: nn.Module, pixels: Tensor, path: Path, names: list[str]) -> None:
    """Write one file with its weights inside.

    Attention by plain products: the exporter writes these in place of a fused kernel, whose result has another layout.
    """
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        torch.onnx.export(graph, (pixels,), str(path), dynamo=True, input_names=["pixels"], output_names=names,
                          opset_version=OPSET, external_data=False, verbose=False)  # fmt: skip


def quietly(action: Callable[[], None], what: str) -> None:
    """Run an export without the exporter's advice; UserError where it cannot export."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            action()
        except (torch.onnx.errors.OnnxExporterError, NotImplementedError) as error:
            said = re.sub(r"\x1b\[\d+m", "", str(error).strip().splitlines()[0])[:300]  # without the terminal's colours
            raise UserError(f"{what} cannot be exported to ONNX by torch {torch.__version__}: {said}") from error
