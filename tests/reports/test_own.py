"""The report of a user's own data: all encoders in one table, in its own words, with its answer first."""

import re

import pytest
from synthetic import metric, pictures, record

from reports import html, markdown
from reports.page import build
from reports.records import write_record

SMALL = {"name": "vit_small_patch14_dinov2", "kwargs": {"img_size": 96}}
LITE = {"name": "tf_efficientnet_lite0", "kwargs": {}}
CLASSES = ["sky", "road", "car"]
ROWS = {  # name -> architecture, method, score
    "random vit_small": (SMALL, "random", 20.0),
    "random lite0": (LITE, "random", 23.9),
    "DINOv2 ViT-S": (SMALL, "timm", 41.0),
    "Lite0, ImageNet": (LITE, "timm", 35.4),
}


def own(name, seed=0, shift=0.0, **changes):
    """A record of UperNet on a data set of one's own."""
    encoder, method, score = ROWS[name]
    kind = "floor" if method == "random" else None
    known = record("upernet", "mae")
    score += shift + 0.1 * seed
    base = known | {
        "name": name, "method": method, "method_name": method, "source": None if kind else f"timm:{encoder['name']}.x",
        "family": "random" if kind else "dino", "dataset": "camvid", "tested_on": "val", "seed": seed,
        "reference": kind is not None, "reference_kind": kind, "protocol": "camvid-upernet-96x128-tiny-v1",
        "checkpoint": {"sha256": f"{len(name):064x}", "encoder": encoder}, "selection": None,
        "metrics": {"mIoU": metric(score, "%", primary=True)},
        "budget": known["budget"] | {"pretrain_scale": None if kind else "published"},
        "details": {"classes": CLASSES, "per_class": {"IoU": [score, score - 5, None]}, "confusion": [
            {"right": 90, "wrong": [[1, 10]], "others": 0}, {"right": 5, "wrong": [[0, 4], [2, 1]], "others": 0},
            {"right": 0, "wrong": [], "others": 0}]},
        "legend": {"classes": CLASSES, "palette": [[1, 2, 3], [4, 5, 6], [7, 8, 9]], "max_depth": None,
                   "score_threshold": None},
    }  # fmt: skip
    return base | changes


def written(root, entries):
    for k, entry in enumerate(entries):
        if k == 0:
            entry = entry | {"samples": pictures(root / str(k), "mae", "upernet", 1)}
        write_record(root / str(k), entry)
    return build(root)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return written(tmp_path_factory.mktemp("runs"), [own(name, seed) for name in ROWS for seed in range(3)])


def test_all_encoders_of_a_data_set_share_one_table(report):
    (chapter,) = report.chapters
    assert [row[0].text for row in chapter.main.rows] == [
        "random lite0 (floor)", "random vit_small (floor)", "DINOv2 ViT-S", "Lite0, ImageNet"]  # fmt: skip
    assert chapter.main.header[0] == "Encoder" and "timm" not in {row[0].text for row in chapter.main.rows}
    (differences,) = chapter.differences
    assert differences.caption == "Difference to random weights of the same architecture"
    found = {row[0].text: row[1].text for row in differences.rows}
    assert found == {"DINOv2 ViT-S": "+21.0", "Lite0, ImageNet": "+11.5"}, "each against its own architecture"
    side = {row[0].text: [cell.text for cell in row[1:]] for row in chapter.architectures.rows}
    assert side["DINOv2 ViT-S"][0] == "vit_small_patch14_dinov2" and side["DINOv2 ViT-S"][3] == "64 x 64"


def test_the_page_opens_with_its_answer(report):
    (row,) = report.chapters[0].answer.rows
    texts = [(cell.text, cell.sub) for cell in row]
    assert texts[1] == ("DINOv2 ViT-S", "told from all others") and texts[2][0] == "41.1 %"
    assert texts[3][0] == "+5.6" and texts[3][1].startswith("Lite0, ImageNet; ± 0.0")
    assert texts[4][0] == "+21.0" and texts[6] == ("published weights", "data unknown")
    page = html.render(report)
    assert page.index("told from all others") < page.index("Computed from")


def test_own_data_are_spoken_of_in_their_own_words(report):
    for text in (html.render(report), markdown.render(report)):
        for foreign in ("make study", "make demo", "ADE20K", "COCO box", "Scale tiny", "oracle", "test split"):
            assert foreign not in text, foreign
        assert "val split" in text and "How to cite" in text and "Version 0.2.0" in text
    page = html.render(report)
    heads = re.findall(r"<h[23][^>]*>(.*?)</h[23]>", page)
    assert len(heads) == len(set(heads))
    assert "background: rgb(4 5 6)" in page and page.count('<input type="checkbox"') == page.count("<label>") > 0


def test_classes_and_confusion(report):
    (chapter,) = report.chapters
    (table,) = chapter.classes
    assert [[cell.text for cell in row] for row in table.rows][2] == ["car", "–", "–", "–", "–"]
    assert table.rows[0][3].text == "41.1"
    (picture,) = chapter.confusions
    assert "DINOv2 ViT-S" in picture.title and "40 % of road taken for sky; 10 % of road taken for car" in picture.text


def test_nothing_is_ranked_from_one_seed(tmp_path):
    report = written(tmp_path, [own(name) for name in ROWS])
    (row,) = report.chapters[0].answer.rows
    assert row[1].sub == "highest of one seed each: no ranking" and row[1].kind == ""
    assert {cell.kind for line in report.chapters[0].main.rows for cell in line[1:]} <= {"", "reference"}
    assert any("one seed" in line for line in report.chapters[0].cannot_tell)


def test_random_weights_of_one_architecture_with_other_switches_are_rows_of_their_own(tmp_path):
    """Three draws of each; every row is compared with the draws that have its own switches."""
    name = "random vit_small"
    switched = {"name": SMALL["name"], "kwargs": {"img_size": 96, "init_values": 0.1}}
    draws = [
        own(name, seed, shift, checkpoint={"sha256": f"{k:x}{seed}".ljust(64, "0"), "encoder": encoder})
        for k, (encoder, shift) in enumerate(((SMALL, 0.0), (switched, 7.0)))
        for seed in range(3)
    ]
    trained = [
        own("DINOv2 ViT-S", seed, 0.5 * seed, checkpoint={"sha256": f"{k}" * 64, "encoder": encoder})
        | {"name": f"mine {k}"}
        for k, encoder in enumerate((SMALL, switched))
        for seed in range(3)
    ]
    report = written(tmp_path, [*draws, *trained])
    (section,) = [chapter.section for chapter in report.chapters]
    floors = [row for row in section.rows if row.kind == "floor"]
    assert sorted(row.variant for row in floors) == ["init_values=0.1", "no init_values"]
    assert all(len(section.values(row, section.columns[0])) == 3 for row in floors)
    found = {row.name: section.floor_of(row).variant for row in section.rows if row.kind is None}
    assert found == {"mine 0": "no init_values", "mine 1": "init_values=0.1"}
    differences = {row[0].text: row[1].text for row in report.chapters[0].differences[0].rows}
    assert differences == {"mine 0": "+21.5", "mine 1": "+14.5"}  # 41.6 on average beside 20.1 and 27.1


def test_learning_rates_checkpoints_and_ablations_are_rows(tmp_path):
    name, settings = "DINOv2 ViT-S", record()["settings"]
    other = {"checkpoint": {"sha256": "f" * 64, "encoder": SMALL}}
    entries = [own(name, seed, settings=settings | {"lr": lr}) for lr in (1e-4, 1e-3) for seed in (0, 1)]
    (section,) = [chapter.section for chapter in written(tmp_path / "lr", entries).chapters]
    assert [row.variant for row in section.rows] == ["lr 0.0001", "lr 0.001"]
    assert all(len(section.values(row, section.columns[0])) == 2 for row in section.rows)
    report = written(tmp_path / "weights", [own(name), own(name, shift=1.0, **other)])
    assert [row.variant for row in report.chapters[0].section.rows] == ["weights 00000000", "weights ffffffff"]
    ablated = own(name, shift=1.0, settings=settings | {"options": ["model.decode_head.channels=64"]})
    report = written(tmp_path / "options", [own(name), ablated])
    assert [row[0].text for row in report.chapters[0].main.rows] == [
        f"{name} (as configured)", f"{name} (model.decode_head.channels=64)"]  # fmt: skip
