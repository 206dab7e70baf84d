"""COCO files as people have them: mended by rule or refused; perfect predictions score 100 on all that is accepted."""

import copy

import numpy as np
import pytest

from benchmarks.fuzzing.perfect import perfect_score
from engine.errors import UserError
from tests.datasets.coco_samples import SIZE, all_changed, build, changed, good

POLYGON, RUNS = (good()["annotations"][k]["segmentation"] for k in (0, 4))
ACCEPTED = {
    "as it should be": good(),
    "ids from 0": all_changed(lambda a, k: a.update(id=k)),
    "ids below 0": all_changed(lambda a, k: a.update(id=-k - 1)),
    "ids that are words": all_changed(lambda a, k: a.update(id=f"a{k}")),
    "no iscrowd": all_changed(lambda a, k: a.pop("iscrowd")),
    "iscrowd as a truth value": all_changed(lambda a, k: a.update(iscrowd=False)),
    "a two-point polygon beside a whole one": changed(segmentation=[[5, 5, 6, 6], *POLYGON]),
    "an empty polygon beside a whole one": changed(segmentation=[[], *POLYGON]),
    "words in a polygon beside a whole one": changed(segmentation=[[1, 1, "a", 2, 3, 4], *POLYGON]),
    "no area": all_changed(lambda a, k: a.pop("area")),
    "area of 0": changed(area=0),
    "area beyond all": changed(area=1e12),
    "area that is no number": changed(area="12"),
    "a box without area": changed(bbox=[5, 5, 0, 4]),
    "a box outside": changed(bbox=[100, 100, 5, 5]),
    "a crowd": changed(iscrowd=1),
    "an ignored object": changed(ignore=1),
    "a polygon that goes round twice": changed(segmentation=[[*POLYGON[0], *POLYGON[0]]]),
    "a mask without a pixel": changed(bbox=[3, 3, 0.2, 0.2], segmentation=[[3, 3, 3.2, 3, 3.2, 3.2]]),
    "image ids that are words": {
        **all_changed(lambda a, k: a.update(image_id=f"i{a['image_id']}")),
        "images": [{**image, "id": f"i{image['id']}"} for image in good()["images"]],
    },
    "a category never used": {**good(), "categories": [*good()["categories"], {"id": 9, "name": "cow"}]},
    "category ids that are words": {
        **all_changed(lambda a, k: a.update(category_id=str(a["category_id"]))),
        "categories": [{"id": "7", "name": "cat"}, {"id": "3", "name": "dog"}],
    },
    "keys that nobody knows": {**good(), "info": None, "extra": [1]},
}  # fmt: skip
REFUSED = {
    "boxes as corners": (
        all_changed(lambda a, k: a.update(bbox=[*a["bbox"][:2], *np.add(a["bbox"][:2], a["bbox"][2:]).tolist()])),
        "read as [x1, y1, x2, y2], 12 of 12 boxes lie around their masks",
    ),
    "boxes by their centres": (
        all_changed(lambda a, k: a.update(bbox=[*np.add(a["bbox"][:2], np.divide(a["bbox"][2:], 2)), *a["bbox"][2:]])),
        "read as [centre x, centre y, width, height], 12 of 12",
    ),
    "boxes between 0 and 1": (
        all_changed(lambda a, k: a.update(bbox=[v / 48 for v in a["bbox"]])), "boxes do not lie around their masks",
    ),
    "no object": ({**good(), "annotations": []}, "no object that counts"),
    "crowds alone": (all_changed(lambda a, k: a.update(iscrowd=1)), "no object that counts"),
    "a run-length string cut short": (
        changed(4, segmentation={"size": list(SIZE), "counts": RUNS["counts"][:-3]}),
        "annotation 5: ",
    ),
    "run lengths of another size": (
        changed(4, segmentation={"size": [9, 9], "counts": [81]}), "a run-length mask of [9, 9] for an image of",
    ),
    "no polygon": (changed(segmentation=[[]]), "annotation 1: no polygon of three corners"),
    "words in its only polygon": (changed(segmentation=[[1, 1, "a", 2, 3, 4]]), "annotation 1: no polygon"),
    "a flat list of numbers": (changed(segmentation=POLYGON[0]), "annotation 1: no polygon"),
    "a box of three": (changed(bbox=[1, 2, 3]), "annotation 1 has the box [1, 2, 3]: give"),
    "a box of words": (changed(bbox=["1", 2, 3, 4]), "annotation 1 has the box"),
    "a box of NaN": (changed(bbox=[1, 2, float("nan"), 4]), "annotation 1 has the box"),
    "an image id of another type": (changed(image_id="1"), "annotation 1 is of image id '1', which the file does not"),
    "an image id that is a list": (changed(image_id=[1]), "annotation 1 is of image id [1], which the file does not"),
    "an iscrowd of 2": (changed(iscrowd=2), "annotation 1 has 2"),
    "an annotation id twice": (changed(id=2), "annotation 2 occurs twice"),
    "an image id twice": ({**good(), "images": [{**i, "id": 1} for i in good()["images"]]}, "image id 1 stands there"),
    "a file listed twice": (
        {**good(), "images": [{**i, "file_name": "1.png"} for i in good()["images"]]}, "'1.png' stands there 4 times",
    ),
    "a category twice": (
        {**good(), "categories": [*good()["categories"], {"id": 8, "name": "x"}, {"id": 8, "name": "y"}]},
        "category id 8 stands there 2 times",
    ),
    "an image of another size": (
        {**good(), "images": [{**i, "height": 41} for i in good()["images"]]}, "1.png is 48x40, the file says 48x41",
    ),
    "an image of no size": (
        {**good(), "images": [{**i, "height": "40"} for i in good()["images"]]}, "image 1.png has the height and width",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_perfect_predictions_score_100(coco_folder, name):
    dataset = build(coco_folder, copy.deepcopy(ACCEPTED[name]))
    assert perfect_score(dataset) == (1.0, 1.0)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_scored_is_refused_before_training(coco_folder, name):
    content, sentence = REFUSED[name]
    with pytest.raises(UserError) as error:
        build(coco_folder, copy.deepcopy(content))
    assert sentence in str(error.value) and "\n" not in str(error.value)


WEIRD = (None, [], [[]], {}, "x", "", -1, 0, 1.5, 1e12, float("nan"), True, [1, 2], {"size": [40, 48]}, RUNS, 2**70)


def mutant(rng):
    """A file with one to three places changed: keys dropped, values exchanged, lists cut, numbers moved."""
    content = good()
    for _ in range(rng.integers(1, 4)):
        entries = content[rng.choice(["annotations", "annotations", "annotations", "images", "categories"])]
        entry = entries[rng.integers(len(entries))]
        if not entry:
            continue
        key = rng.choice(sorted(entry))
        kind = rng.integers(6)
        if kind == 0:
            del entry[key]
        elif kind == 1:
            entry[key] = copy.deepcopy(WEIRD[rng.integers(len(WEIRD))])
        elif kind == 2:
            entry[key] = copy.deepcopy(entries[rng.integers(len(entries))].get(key))
        elif kind == 3 and isinstance(entry[key], list) and entry[key]:
            entry[key].pop(rng.integers(len(entry[key])))
        elif kind == 4 and isinstance(entry[key], list) and entry[key] and isinstance(entry[key][0], list | dict):
            inner = entry[key][0]
            if isinstance(inner, list) and inner:
                inner[rng.integers(len(inner))] = WEIRD[rng.integers(len(WEIRD))]
        elif isinstance(entry[key], int | float):
            entry[key] = entry[key] * float(rng.choice([-1, 0, 0.001, 3, 1e6]))
    return content


@pytest.mark.parametrize("seed", range(60))
def test_a_changed_file_is_scored_right_or_refused(coco_folder, seed):
    try:
        dataset = build(coco_folder, mutant(np.random.default_rng(seed)))
    except UserError as error:
        assert "\n" not in str(error)
        return
    for image in range(len(dataset)):  # the trainer's reader takes it too
        dataset[image]
    assert perfect_score(dataset) == (1.0, 1.0)


def test_about_half_of_the_changed_files_are_accepted(coco_folder):
    """So that the test above says something of both."""
    refused = 0
    for seed in range(60):
        try:
            build(coco_folder, mutant(np.random.default_rng(seed)))
        except UserError:
            refused += 1
    assert 15 < refused < 50
