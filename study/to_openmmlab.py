"""The way out to mmseg and mmdet: a finished run as a config and a checkpoint that their own functions take."""

from pathlib import Path

import torch
from mmengine.config import Config

from datasets.sections import KINDS, Coco
from engine.errors import UserError
from engine.files import atomic_path, write_text
from study.finished import Finished
from study.predict import classes_of, picture_steps
from study.run import check_predicts

CONFIG, WEIGHTS = "config.py", "model.pth"
FIRST = "densebench.openmmlab"  # imported before what a run's own configuration imports


def to_mmseg(run: str | Path, out: str | Path) -> str:
    """Write what mmseg's `init_model` and `inference_model` take; return the lines that load it.

    Args:
        run: folder of a finished segmentation or depth run. out: folder to write `config.py` and `model.pth` to.

    Raises:
        UserError: no such run.
    """
    return _write(run, out, "mmseg", "from mmseg.apis import init_model, inference_model\nmodel = init_model")


def to_mmdet(run: str | Path, out: str | Path) -> str:
    """Write what mmdet's `init_detector` and `inference_detector` take; return the lines that load it.

    Args:
        run: folder of a finished detection run. out: folder to write `config.py` and `model.pth` to.

    Raises:
        UserError: no such run.
    """
    return _write(run, out, "mmdet", "from mmdet.apis import init_detector, inference_detector\nmodel = init_detector")


def _write(run: str | Path, out: str | Path, library: str, call: str) -> str:
    finished, out = Finished.read(run), Path(out)
    check_predicts(finished.cfg, f"--to {library}")
    suited = "mmdet" if KINDS[finished.cfg.data.kind] is Coco else "mmseg"
    if library != suited:
        raise UserError(f"{run} holds a model of {suited}: take --to {suited}")
    classes, palette = classes_of(finished)
    known = {"classes": classes, "palette": palette} if classes else {}
    # Plain containers and tensors alone, which torch's safe loading takes.
    meta = {"dataset_meta": known, "protocol": finished.record["protocol"], "config_hash": finished.cfg.config_hash}
    state = {key: value.clone() for key, value in finished.model().state_dict().items()}
    with atomic_path(out / WEIGHTS) as temporary:
        torch.save({"meta": meta, "state_dict": state}, temporary)
    write_text(out / CONFIG, config_of(finished, known).pretty_text)
    return (
        f"import densebench.openmmlab  # before mmseg and mmdet\n{call}({str(out / CONFIG)!r}, {str(out / WEIGHTS)!r})"
    )


def config_of(finished: Finished, known: dict[str, list]) -> Config:
    """What a program of mmseg or mmdet reads: the model, and how pictures come to it."""
    cfg, steps = finished.cfg, [dict(step) for step in picture_steps(finished)]
    kind = "CocoDataset" if cfg.data.kind == "coco" else "BaseSegDataset"
    return Config({
        "default_scope": cfg.default_scope,
        "custom_imports": {"imports": [FIRST, *cfg.custom_imports.imports], "allow_failed_imports": False},
        "model": cfg.model.to_dict(),
        "test_pipeline": steps,
        # mmdet takes pipeline and palette from a data set, of which it reads no file.
        "test_dataloader": {"dataset": {"type": kind, "metainfo": known, "pipeline": steps, "test_mode": True}},
    })  # fmt: skip
