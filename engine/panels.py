"""Pictures of the first test images: input, truth and prediction, for the report's qualitative panels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from engine.files import write_bytes
from engine.testing import first_of

SCORE_THRESHOLD = 0.3  # detections below it are left out of the pictures, never out of the metrics


def write_png(path: Path, rgb: np.ndarray) -> None:
    """Write an RGB uint8 image [H, W, 3] atomically as PNG."""
    write_bytes(path, cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())


def paint_classes(labels: np.ndarray, palette: Sequence) -> np.ndarray:
    """Colour a map of class ids [H, W]; ids outside the palette (255, ignored) become black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours[labels.astype(np.uint8)]


def paint_depth(depth: np.ndarray, max_depth: float) -> np.ndarray:
    """Colour metres [H, W] from near (bright) to `max_depth` (dark); pixels without a value become black."""
    near = 255 - np.clip(depth / max_depth * 255, 0, 255).astype(np.uint8)
    rgb = cv2.applyColorMap(near, cv2.COLORMAP_VIRIDIS)[..., ::-1].copy()
    rgb[depth <= 0] = 0
    return rgb


def paint_instances(rgb: np.ndarray, masks: np.ndarray, labels: np.ndarray, palette: Sequence) -> np.ndarray:
    """Lay masks [N, H, W] over a greyed image in their class colours, with a light outline each."""
    canvas = np.repeat(rgb.mean(-1, keepdims=True) * 0.6, 3, axis=-1)
    for mask, label in zip(masks.astype(bool), labels, strict=True):
        canvas[mask] = 0.25 * canvas[mask] + 0.75 * np.asarray(palette[int(label)])
        outline = mask & ~cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        canvas[outline] = 255
    return canvas.astype(np.uint8)


@HOOKS.register_module()
class PanelHook(Hook):
    """Save `samples/<k>_{image,truth,prediction}.png` for the first `count` test images.

    Args:
        task: "seg", "det" or "depth".
        count: how many images.
        palette: one RGB triple per class.
        max_depth: metres at the dark end of the depth colours.
    """

    def __init__(self, task: str, count: int = 4, palette: Sequence = (), max_depth: float = 10.0) -> None:
        self.task, self.count, self.palette, self.max_depth = task, count, palette, max_depth

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence | None = None, outputs: Sequence | None = None
    ) -> None:
        """Save panels while test images are still among the first `count`."""
        first = first_of(runner, batch_idx)
        if first >= self.count:
            return
        folder = Path(runner.work_dir) / "samples"
        for k, sample in enumerate(outputs[: self.count - first], start=first):
            # The test's own reader, so that pictures show the pixels that the encoder saw, before they were resized.
            image = runner.test_dataloader.dataset.pipeline.transforms[0]({"img_path": sample.img_path})["img"]
            rgb = image[..., ::-1]
            truth, prediction = self.paint(rgb, sample)
            for name, picture in (("image", rgb), ("truth", truth), ("prediction", prediction)):
                write_png(folder / f"{k}_{name}.png", picture)

    def paint(self, rgb: np.ndarray, sample: Mapping) -> tuple[np.ndarray, np.ndarray]:
        """Truth and prediction of one data sample as RGB pictures."""
        if self.task == "seg":
            maps = sample.gt_sem_seg.data, sample.pred_sem_seg.data
            return tuple(paint_classes(m.squeeze(0).cpu().numpy(), self.palette) for m in maps)
        if self.task == "depth":
            maps = sample.gt_depth_map.data, sample.pred_depth_map.data
            return tuple(paint_depth(m.squeeze(0).float().cpu().numpy(), self.max_depth) for m in maps)
        truth = sample.gt_instances
        found = sample.pred_instances
        found = found[found.scores > SCORE_THRESHOLD]
        true_masks = truth.masks.to_ndarray() if hasattr(truth.masks, "to_ndarray") else np.asarray(truth.masks)
        return (
            paint_instances(rgb, true_masks, np.asarray(truth.labels.cpu()), self.palette),
            paint_instances(rgb, np.asarray(found.masks.cpu()), np.asarray(found.labels.cpu()), self.palette),
        )


def panel_files(work_dir: str | Path) -> list[dict[str, str]]:
    """The panels of a run folder, as paths relative to it."""
    folder = Path(work_dir) / "samples"
    return [
        {name: f"samples/{k}_{name}.png" for name in ("image", "truth", "prediction")}
        for k in range(len(list(folder.glob("*_image.png"))))
    ]
