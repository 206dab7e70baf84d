"""Average precision against pycocotools' own evaluation, on whatever the evaluator can be given."""

import contextlib
import copy
import io

import numpy as np
import pytest
from mmdet.datasets.api_wrappers import COCO
from pycocotools import mask as run_length
from pycocotools.cocoeval import COCOeval

from datasets.annotations import LARGEST_ID
from datasets.detection import average_precision

SIDE = 130


def polygon(rng: np.random.Generator) -> list[float]:
    """Corners around a point, which may reach over the image's edge."""
    angles = np.sort(rng.random(rng.integers(3, 9)) * 2 * np.pi)
    radii = rng.choice([3, 12, 30, 60]) * (0.5 + rng.random(len(angles)))
    corners = rng.random(2) * SIDE + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    return corners.ravel().round(2).tolist()


def encoded(parts: list[list[float]]) -> dict:
    runs = run_length.merge(run_length.frPyObjects(parts, SIDE, SIDE))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def plain(runs: dict) -> dict:
    """Run lengths as a list of counts."""
    pixels = run_length.decode(runs).ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], pixels, [1 - pixels[-1]]])))
    return {"size": runs["size"], "counts": np.diff(np.concatenate([[0], edges])).tolist()}


def drawn(seed: int) -> tuple[dict, list[dict], list[int]]:
    """A COCO file, detections, and the classes asked for: crowds, equal scores, empty images, classes without either,
    whose ids are in no order."""
    rng = np.random.default_rng(seed)
    far = LARGEST_ID - 1000 if seed % 2 else 1  # ids as large as a file may have
    classes = [far + int(k) for k in rng.permutation(40)[:9]]
    images = [dict(id=far + int(k), width=SIDE, height=SIDE) for k in rng.permutation(60)[:14]]
    things, found = [], []
    for image in images[:11]:
        for _ in range(rng.integers(0, 9)):
            parts = [polygon(rng) for _ in range(rng.integers(1, 3))]
            runs, category = encoded(parts), int(rng.choice(classes[:7]))
            shape = (parts, runs, plain(runs))[rng.integers(0, 3)]
            area = float(run_length.area(runs)) * rng.choice([1.0, 0.2, 9.0])  # a file's own, which decides its size
            things.append(
                dict(
                    id=far + len(things),
                    image_id=image["id"],
                    category_id=category,
                    segmentation=shape,
                    bbox=run_length.toBbox(runs).tolist(),
                    area=area,
                    iscrowd=int(rng.random() < 0.2),
                )
            )
            for _ in range(rng.integers(0, 4)):
                moved = [
                    (np.array(part) + rng.normal(0, 2, 2).repeat(len(part) // 2)[: len(part)]).tolist()
                    for part in parts
                ]
                named = category if rng.random() < 0.8 else int(rng.choice(classes[1:]))
                found.append(detection(rng, image["id"], named, encoded(moved)))
    found += [
        detection(rng, image["id"], int(rng.choice(classes)), encoded([polygon(rng)]))
        for image in images[8:]
        for _ in range(3)
    ]
    categories = [dict(id=k, name=str(k)) for k in classes]
    return dict(images=images, annotations=things, categories=categories), found, classes[: 9 - seed % 3]


def detection(rng: np.random.Generator, image: int, category: int, runs: dict) -> dict:
    box = (run_length.toBbox(runs) + rng.normal(0, 0.5, 4)).round(3).tolist()
    score = rng.integers(0, 6) / 5 if rng.random() < 0.5 else rng.random()
    return dict(image_id=image, category_id=category, bbox=box, score=float(score), segmentation=runs)


def indexed(content: dict) -> COCO:
    coco = COCO()
    coco.dataset = copy.deepcopy(content)
    coco.createIndex()
    return coco


def by_pycocotools(content: dict, found: list[dict], kind: str, classes: list[int], most: int) -> np.ndarray:
    """Precisions, class by class in the order of their ids, as it wants them."""
    listed = [{key: value for key, value in one.items() if kind == "bbox" or key != "bbox"} for one in found]
    evaluation = COCOeval((truth := indexed(content)), truth.loadRes(copy.deepcopy(listed)), kind)
    evaluation.params.catIds, evaluation.params.maxDets = sorted(classes), [most]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"][..., 0]


@pytest.mark.parametrize("seed", range(6))
def test_precisions_are_those_of_pycocotools(seed):
    content, found, classes = drawn(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = indexed(content)  # one for both kinds, as the metric has it
        for kind in ("bbox", "segm"):
            for most in (2, 300):
                expected = by_pycocotools(content, found, kind, classes, most)
                expected = expected[:, :, [sorted(classes).index(k) for k in classes]]
                precision = average_precision(truth, copy.deepcopy(found), kind, classes, most)
                np.testing.assert_allclose(precision, expected, rtol=0, atol=1e-9)
            known = precision > -1
            assert 0.1 < precision[known].mean() < 0.9 and not known.all()
            assert all(known[..., area].any() for area in range(4)), "every size has objects"
            alone = by_pycocotools(content, found, kind, classes[1:2], 300)
            np.testing.assert_allclose(precision[:, :, 1:2], alone, rtol=0, atol=1e-9)
