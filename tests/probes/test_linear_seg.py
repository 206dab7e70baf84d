"""Linear segmentation: loss, prediction and intervals against plain loops; the task from a checkpoint to its record."""

import math
import shutil

import numpy as np
import pytest
import torch

from engine.errors import UserError
from engine.outcome import resamples
from probes.config import Linear
from probes.features import Rows
from probes.linear_map import LinearMap, fit, outputs, rate
from probes.linear_seg import pixel_loss
from probes.segmentation import intervals, predictions
from reports.records import read_record
from study.configure import load_config
from study.run import run_test

CONFIG = "probes/configs/linear_seg.py"
RECIPE = Linear(taps="last", lr=0.05, weight_decay=0.0, batch=4, iterations=40, warm_up=4)


def bilinear(plane, height, width):
    """[h, w] -> [height, width] by loops, corners not aligned."""
    h, w = plane.shape
    found = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y, x = ((i + 0.5) * h / height - 0.5, (j + 0.5) * w / width - 0.5)
            y, x = max(y, 0), max(x, 0)
            top, left = int(y), int(x)
            low, right = min(top + 1, h - 1), min(left + 1, w - 1)
            dy, dx = y - top, x - left
            found[i, j] = ((1 - dy) * ((1 - dx) * plane[top, left] + dx * plane[top, right])
                           + dy * ((1 - dx) * plane[low, left] + dx * plane[low, right]))  # fmt: skip
    return found


def test_the_loss_is_the_mean_cross_entropy_of_the_pixels_that_count():
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(2, 3, 2, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (2, 7, 9), generator=generator).to(torch.uint8)
    labels[:, 2:4] = 255
    total, count = 0.0, 0
    for b in range(2):
        planes = np.stack([bilinear(found[b, k].numpy(), 7, 9) for k in range(3)])
        for i in range(7):
            for j in range(9):
                if labels[b, i, j] != 255:
                    total += math.log(sum(math.exp(v) for v in planes[:, i, j])) - planes[int(labels[b, i, j]), i, j]
                    count += 1
    assert count == 2 * 5 * 9
    assert float(pixel_loss(found, labels)) == pytest.approx(total / count, rel=1e-12)
    assert float(pixel_loss(found, torch.full_like(labels, 255))) == 0.0


def test_a_prediction_is_norm_product_upsampling_and_the_best_class_by_loops():
    torch.manual_seed(1)
    head, maps = LinearMap(5, 3).double(), torch.randn(2, 5, 2, 3, dtype=torch.float64)
    assert float(head.linear.weight.std()) < 0.02 and not head.linear.bias.any()
    with torch.no_grad():
        for value in (head.norm.running_mean, head.norm.weight, head.norm.bias, head.linear.weight, head.linear.bias):
            value.normal_()
        head.norm.running_var.uniform_(0.5, 2)
        found = [*head.eval()(maps)]
    norm = {name: value.numpy() for name, value in head.norm.state_dict().items()}
    weight, bias = head.linear.weight.detach().numpy()[:, :, 0, 0], head.linear.bias.detach().numpy()
    truth = [torch.zeros(6, 5), torch.zeros(4, 9)]
    for b, predicted in enumerate(predictions(found, truth)):
        plain = np.zeros((3, 2, 3))
        for k in range(3):
            for i in range(2):
                for j in range(3):
                    plain[k, i, j] = bias[k]
                    for c in range(5):
                        x = (float(maps[b, c, i, j]) - norm["running_mean"][c]) / math.sqrt(
                            norm["running_var"][c] + 1e-5
                        )
                        plain[k, i, j] += weight[k, c] * (norm["weight"][c] * x + norm["bias"][c])
        whole = np.stack([bilinear(plane, *truth[b].shape) for plane in plain])
        assert np.array_equal(predicted.numpy(), whole.argmax(axis=0))


def test_training_repeats_learns_and_follows_its_rate():
    assert [rate(step, 10, 4) for step in (0, 3, 4, 9)] == pytest.approx([0.2, 0.8, 1.0, 1 / 6])
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (12, 4, 4), generator=generator)
    maps = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2) * 2 + torch.randn(
        12, 3, 4, 4, generator=generator
    )  # [12, 3, 4, 4]
    trained = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        head = LinearMap(3, 3)
        assert fit(head, Rows([maps]), labels.to(torch.uint8).numpy(), pixel_loss, RECIPE, seed) > 0
        trained.append(head.linear.weight.detach().clone())
    assert torch.equal(trained[0], trained[1]) and not torch.equal(trained[0], trained[2]), "the order is the seed's"
    right = torch.stack([*outputs(head, Rows([maps]))]).argmax(dim=1) == labels
    assert right.float().mean() > 0.8
    with pytest.raises(UserError, match="loss is not finite: lower probe.lr"):
        fit(LinearMap(3, 3), Rows([maps * torch.nan]), labels.to(torch.uint8).numpy(), pixel_loss, RECIPE, 0)


def test_intervals_are_quantiles_of_resampled_images():
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(1, 50, (6, 3), generator=generator).float()
    both = (label * torch.rand(6, 3, generator=generator)).floor()
    either = 2 * label - both
    label[:, 2] = both[:, 2] = either[:, 2] = 0
    label[0, 2], either[0, 2], both[0, 2] = 4, 5, 2  # a class that many resamples lack
    found = intervals([*zip(both, either, label, label, strict=True)])
    values = {"aAcc": [], "mAcc": [], "mIoU": []}
    for row in resamples(6).tolist():
        ious, accuracies, right, pixels = [], [], 0.0, 0.0
        for k in range(3):
            b, e, t = (sum(n * float(areas[i, k]) for i, n in enumerate(row)) for areas in (both, either, label))
            right, pixels = right + b, pixels + t
            if e:
                ious.append(b / e)
                accuracies.append(b / t)
        values["mIoU"].append(100 * sum(ious) / len(ious))
        values["mAcc"].append(100 * sum(accuracies) / len(accuracies))
        values["aAcc"].append(100 * right / pixels)
    for name, bounds in found.items():
        assert bounds == pytest.approx(np.quantile(values[name], [0.025, 0.975]), rel=1e-9), name


@pytest.fixture
def configured(mae, overlay, tmp_path):
    """`configured(seed, **options)`: the task on the small export at a size that is no square."""
    shutil.copytree(mae, tmp_path / "run" / "checkpoint")
    data = overlay(CONFIG, size=(48, 64))

    def make(seed=0, **options):
        return load_config(
            CONFIG, seed=seed, checkpoint=str(tmp_path / "run" / "checkpoint"), data=str(data),
            work_dir=str(tmp_path / f"out{seed}"), options={"probe.iterations": 12, "probe.warm_up": 2, **options},
        )  # fmt: skip

    return make


def test_from_a_checkpoint_to_a_record(configured, tmp_path):
    cfg = configured()
    record = run_test(cfg, "python tools/test.py x")
    assert read_record(tmp_path / "out0" / "result.json") == record
    assert (record["task"], record["head"], record["split"]) == ("linear_seg", "linear, taps: last", "test")
    assert record["protocol"] == "small-scenes-linear-seg-48x64-tiny-v1"
    assert [*record["metrics"]] == ["mIoU", "mAcc", "aAcc"] and record["metrics"]["mIoU"]["primary"]
    for metric in record["metrics"].values():
        assert 0 <= metric["low"] <= metric["high"] <= 100 and "chance" not in metric
    wanted = {"lr": cfg.probe.lr, "iterations": 12, "global_batch": 16, "train_images": 16, "input_size": [48, 64]}
    assert {key: record["settings"][key] for key in wanted} == wanted
    assert record["cost"]["finetune_samples_per_s"] > 0
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "features").glob("*.safetensors")}
    other = run_test(configured(seed=1), "x")
    assert {path: path.stat().st_mtime_ns for path in made} == made and len(made) == 2, "maps are made once"
    (tmp_path / "out0").rename(tmp_path / "was")
    assert run_test(configured(), "x")["metrics"] == record["metrics"] != other["metrics"]


def test_recipes_that_are_none_are_refused(configured):
    for options, message in (
        ({"probe.taps": "all"}, "probe.taps is 'all': give 'last' or 'four'"),
        ({"probe.lr": "fast"}, "probe.lr is 'fast', but a number stands there"),
        ({"probe.batch": 0}, "probe.batch is 0: give a number from 1 on"),
        ({"probe.warmup": 3}, "nothing reads 'probe.warmup'; did you mean warm_up"),
        ({"probe.warm_up": 12}, "probe.warm_up is 12: the rate must have risen before the last of 12 iterations"),
    ):
        with pytest.raises(UserError, match=message):
            configured(**options)
    assert configured(**{"probe.taps": "four"}).protocol == "small-scenes-linear-seg-four-taps-48x64-tiny-v1"
