"""Pictures for the report: what each colour means, and which files a test leaves."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from datasets.segmentation import LoadImageStrict
from engine.errors import UserError
from engine.panels import PanelHook, paint_classes, paint_depth, paint_instances, panel_files, write_png

PALETTE = [[255, 0, 0], [0, 200, 0], [0, 0, 90]]


def read(path):
    return cv2.imread(str(path))[..., ::-1]


def test_classes_have_their_palette_colour_and_ignored_pixels_are_black():
    labels = np.array([[0, 1, 2], [255, 2, 0]])
    expected = [[PALETTE[0], PALETTE[1], PALETTE[2]], [[0, 0, 0], PALETTE[2], PALETTE[0]]]
    assert paint_classes(labels, PALETTE).tolist() == expected


def test_png_keeps_rgb_order(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_png(tmp_path / "new/folder/x.png", picture)
    assert np.array_equal(read(tmp_path / "new/folder/x.png"), picture)


def test_depth_goes_from_bright_to_dark():
    ramp = np.linspace(0.05, 12.0, 200)[None]
    brightness = paint_depth(ramp, 10.0)[0].astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness) <= 1).all() and brightness[0] > 200 and brightness[-1] < 45
    assert (paint_depth(np.array([[0.0, -1.0, 5.0]]), 10.0)[0, :2] == 0).all(), "no measurement, no colour"
    assert np.array_equal(paint_depth(np.array([[10.0]]), 10.0), paint_depth(np.array([[50.0]]), 10.0))
    quarter = [paint_depth(np.array([[far / 4]]), far) for far in (4.0, 8.0)]
    assert np.array_equal(*quarter), "relative to max_depth"


def test_instances_lie_over_a_greyed_image():
    rgb = np.full((8, 8, 3), [200, 100, 0], np.uint8)
    mask = np.zeros((1, 8, 8), bool)
    mask[0, 1:7, 1:7] = True
    painted = paint_instances(rgb, mask, np.array([1]), PALETTE)
    grey = int((200 + 100) / 3 * 0.6)
    assert painted[0, 0].tolist() == [grey] * 3
    assert painted[1, 1].tolist() == [255] * 3, "outline"
    inner = [int(0.25 * 60 + 0.75 * c) for c in PALETTE[1]]
    assert painted[4, 4].tolist() == inner
    empty = paint_instances(rgb, np.zeros((0, 8, 8), bool), np.array([], int), PALETTE)
    assert (empty == grey).all() and empty.dtype == np.uint8
    with pytest.raises(ValueError):
        paint_instances(rgb, mask, np.array([1, 2]), PALETTE)


@pytest.fixture
def images(tmp_path):
    """Three pictures, and what the hook asks of a runner whose test batches hold two."""
    paths = []
    for k in range(3):
        picture = np.random.default_rng(k).integers(0, 256, (8, 10, 3), dtype=np.uint8)
        paths.append(str(tmp_path / f"in{k}.png"))
        cv2.imwrite(paths[-1], picture)
    dataset = SimpleNamespace(pipeline=Compose([LoadImageStrict()]))
    loader = SimpleNamespace(batch_size=2, dataset=dataset)
    return paths, SimpleNamespace(work_dir=str(tmp_path / "run"), test_dataloader=loader)


def segmentation(path, k):
    maps = [PixelData(data=torch.full((1, 8, 10), value)) for value in (k, (k + 1) % 3)]
    return SegDataSample(metainfo={"img_path": path}, gt_sem_seg=maps[0], pred_sem_seg=maps[1])


def depth(path, k):
    maps = [PixelData(data=torch.full((1, 8, 10), value)) for value in (1.0 + k, 2.0 + k)]
    sample = SegDataSample(metainfo={"img_path": path})
    sample.set_data({"gt_depth_map": maps[0], "pred_depth_map": maps[1]})
    return sample


def boxes(path, k, polygons=False):
    box = np.zeros((1, 8, 10), np.uint8)
    box[0, 2:6, 2:7] = 1
    polygon = [[np.array([2.0, 2.0, 7.0, 2.0, 7.0, 6.0, 2.0, 6.0])]]
    masks = PolygonMasks(polygon, 8, 10) if polygons else BitmapMasks(box, 8, 10)
    sample = DetDataSample(metainfo={"img_path": path})
    sample.gt_instances = InstanceData(labels=torch.tensor([k % 3]), masks=masks)
    found = torch.as_tensor(np.repeat(box, 2, axis=0)).bool()
    found[1] = True  # the whole picture, but hardly believed
    sample.pred_instances = InstanceData(labels=torch.tensor([k % 3, 0]), masks=found, scores=torch.tensor([0.9, 0.3]))
    return sample


def test_files_of_a_segmentation_test(images, tmp_path):
    paths, runner = images
    hook = PanelHook("seg", count=3, palette=PALETTE)
    hook.after_test_iter(runner, 0, outputs=[segmentation(p, k) for k, p in enumerate(paths[:2])])
    hook.after_test_iter(runner, 1, outputs=[segmentation(paths[2], 2), segmentation(paths[2], 0)])
    hook.after_test_iter(runner, 2, outputs=[segmentation("never read", 0)])
    entries = panel_files(runner.work_dir)
    assert entries == [{n: f"samples/{k}_{n}.png" for n in ("image", "truth", "prediction")} for k in range(3)]
    assert len(list((tmp_path / "run/samples").iterdir())) == 9
    for k, entry in enumerate(entries):
        pictures = {name: read(tmp_path / "run" / file) for name, file in entry.items()}
        assert np.array_equal(pictures["image"], read(paths[k]))
        assert (pictures["truth"] == PALETTE[k]).all() and (pictures["prediction"] == PALETTE[(k + 1) % 3]).all()


def test_files_of_a_depth_test(images, tmp_path):
    paths, runner = images
    PanelHook("depth", max_depth=4.0).after_test_iter(runner, 0, outputs=[depth(p, k) for k, p in enumerate(paths[:2])])
    assert len(panel_files(runner.work_dir)) == 2
    truth, prediction = (read(tmp_path / f"run/samples/0_{name}.png") for name in ("truth", "prediction"))
    assert np.array_equal(truth, paint_depth(np.full((8, 10), 1.0), 4.0))
    assert np.array_equal(prediction, paint_depth(np.full((8, 10), 2.0), 4.0)) and not np.array_equal(truth, prediction)


@pytest.mark.parametrize("polygons", [False, True])
def test_files_of_a_detection_test(images, tmp_path, polygons):
    paths, runner = images
    PanelHook("det", palette=PALETTE).after_test_iter(runner, 0, outputs=[boxes(paths[0], 1, polygons)])
    truth, prediction = (read(tmp_path / f"run/samples/0_{name}.png") for name in ("truth", "prediction"))
    assert np.array_equal(truth, prediction), "a perfect prediction looks like the truth; weak ones are left out"
    assert truth[4, 4, 1] > truth[4, 4, 0], "in the colour of its class"


def test_every_process_writes_its_own(images, monkeypatch):
    """The second of two processes tests the second batch of all, whose images come after those of the first."""
    paths, runner = images
    monkeypatch.setattr("engine.testing.get_dist_info", lambda: (1, 2))
    first = runner.test_dataloader.batch_size
    for batch in range(2):
        PanelHook("seg", count=first + 1, palette=PALETTE).after_test_iter(
            runner, batch, outputs=[segmentation(paths[0], 0)]
        )
    written = [path.name for path in Path(runner.work_dir, "samples").glob("*_image.png")]
    assert written == [f"{first}_image.png"]


def test_an_image_that_vanished(images):
    _, runner = images
    with pytest.raises(UserError, match="image gone.png cannot be read"):
        PanelHook("seg", palette=PALETTE).after_test_iter(runner, 0, outputs=[segmentation("gone.png", 0)])
