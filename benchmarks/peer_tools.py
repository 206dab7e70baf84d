"""Reading shards and computing AP twice: as the suite does, and by the library that most use for it."""

import contextlib
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mmdet.datasets.api_wrappers import COCO
from pycocotools import mask as run_length
from pycocotools.cocoeval import COCOeval

from datasets.detection import average_precision
from datasets.images import decode_image
from datasets.shards import ShardReader, load_index

READ = 512  # samples


def shards(folder: Path) -> tuple[Callable[[], float], Callable[[], float]]:
    """Decode the images of the first samples of a folder of shards, one after the other; the mean of their pixels."""
    import webdataset

    reader = ShardReader(load_index(str(folder), "pretrain-*.tar"))
    urls = [str(path) for path in sorted(Path(folder).glob("pretrain-*.tar"))]

    def ours() -> float:
        return float(np.mean([decode_image(reader.read(index, 0)).mean() for index in range(READ)]))

    def theirs() -> float:
        samples = webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8").to_tuple("png")
        return float(np.mean([image.mean() for (image,) in itertools.islice(samples, READ)]))

    return ours, theirs


def precision() -> tuple[Callable[[], float], Callable[[], float]]:
    """Mean mask AP of drawn ellipses and noisy predictions of them: the suite's, then pycocotools'."""
    truth, found = drawn_objects(80)
    categories = truth.get_cat_ids()

    def of(evaluate: Callable[[list[dict]], np.ndarray]) -> Callable[[], float]:
        def run() -> float:
            with contextlib.redirect_stdout(io.StringIO()):
                precisions = evaluate([dict(one) for one in found])[..., 0]
            return float(precisions[precisions > -1].mean())

        return run

    def theirs(predictions: list[dict]) -> np.ndarray:
        for one in predictions:
            one.pop("bbox")  # else it takes the box's area for the object's
        evaluation = COCOeval(truth, truth.loadRes(predictions), "segm")
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation.eval["precision"][..., 0]

    return of(lambda predictions: average_precision(truth, predictions, "segm", categories, 100)), of(theirs)


def drawn_objects(images: int, side: int = 120, classes: int = 6, seed: int = 0) -> tuple[COCO, list[dict]]:
    """Ellipses, a tenth crowds, and shifted predictions, some of the wrong class; many scores are equal."""
    rng, rows, columns = np.random.default_rng(seed), *np.mgrid[:side, :side]
    truth, found = [], []
    for image in range(1, images + 1):
        for _ in range(rng.integers(0, 9)):
            (y, x), (a, b) = rng.random(2) * side, 4 + rng.random(2) * side / 4
            category, runs = int(rng.integers(1, classes + 1)), ellipse(rows, columns, y, x, a, b)
            box, area = [float(v) for v in run_length.toBbox(runs)], float(run_length.area(runs))
            truth.append(dict(id=len(truth) + 1, image_id=image, category_id=category, segmentation=runs, bbox=box,
                              area=area, iscrowd=int(rng.random() < 0.1)))  # fmt: skip
            for _ in range(rng.integers(0, 4)):
                moved = ellipse(rows, columns, y + rng.normal() * a / 4, x + rng.normal() * b / 4, a, b)
                named = category if rng.random() < 0.8 else int(rng.integers(1, classes + 1))
                found.append(dict(image_id=image, category_id=named, segmentation=moved, bbox=box,
                                  score=float(rng.integers(1, 40)) / 40))  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dict(
            images=[dict(id=k, width=side, height=side) for k in range(1, images + 1)], annotations=truth,
            categories=[dict(id=k, name=str(k)) for k in range(1, classes + 1)],
        )  # fmt: skip
        coco.createIndex()
        return coco, found


def ellipse(rows: np.ndarray, columns: np.ndarray, y: float, x: float, a: float, b: float) -> dict:
    """Run lengths of an ellipse; of its centre's pixel, where it lies outside."""
    inside = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1
    inside[int(np.clip(y, 0, len(rows) - 1)), int(np.clip(x, 0, len(rows) - 1))] = True
    runs = run_length.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {"size": runs["size"], "counts": runs["counts"].decode()}
