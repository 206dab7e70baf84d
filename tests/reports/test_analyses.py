"""The file of an analysis: written once, read strictly, found below a folder."""

import base64
import json

import pytest
from synthetic import tree

from engine.errors import UserError
from reports import html, markdown
from reports.analyses import read_analysis, scan_analyses, write_analysis
from reports.page import build

CHECKPOINT = {"sha256": "a" * 64, "method": "mae", "captions": None, "seed": 0, "scale": "tiny",
              "encoder": {"name": "vit_tiny_patch16_224", "kwargs": {}}}  # fmt: skip
DOCUMENT = {
    "name": "attention_distance", "title": "Distance", "checkpoints": [CHECKPOINT], "settings": {"images": 2},
    "scalars": {"mean": {"value": 20.5, "unit": "px", "about": "mean distance"}}, "values": {"distance_px": [[20.5]]},
    "words": "One head.", "command": "python tools/analyse.py", "code_version": "0", "versions": {"python": "3.11"},
    "hardware": {"device": "cpu"},
}  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    path = write_analysis(tmp_path / "a", DOCUMENT, "<svg></svg>")
    assert path == tmp_path / "a/analysis.json" and (tmp_path / "a/figure.svg").read_text() == "<svg></svg>"
    assert read_analysis(path) == {"schema": "densebench/analysis", "version": 1, **DOCUMENT, "figure": "figure.svg"}
    with pytest.raises(UserError, match="already there; delete it to repeat it"):
        write_analysis(tmp_path / "a", DOCUMENT, "<svg>other</svg>")
    assert (tmp_path / "a/figure.svg").read_text() == "<svg></svg>"


@pytest.mark.parametrize("change, reason", [
    ({"scalars": {}}, "scalars breaks the schema"),
    ({"scalars": {"mean": {"value": float("nan"), "unit": "px", "about": "x"}}}, "cannot be written as JSON"),
    ({"scalars": {"mean": {"value": 1, "unit": "miles", "about": "x"}}}, "scalars.mean.unit breaks the schema"),
    ({"name": "astrology"}, "name breaks the schema"),
    ({"extra": 1}, "the result breaks the schema"),
    ({"checkpoints": [{**CHECKPOINT, "sha256": "short"}]}, "checkpoints.0.sha256 breaks the schema"),
])  # fmt: skip
def test_refused_on_writing(tmp_path, change, reason):
    with pytest.raises(UserError, match=reason):
        write_analysis(tmp_path / "a", {**DOCUMENT, **change}, "<svg></svg>")
    assert not (tmp_path / "a").exists()


def damaged(text, **changes):
    return json.dumps({**json.loads(text), **changes})


@pytest.mark.parametrize("damage, reason", [
    (lambda text: text[: len(text) // 2], "truncated or not JSON"),
    (lambda text: text.replace("20.5", "NaN", 1), "NaN is not a finite number"),
    (lambda text: text.replace("20.5", "1e999", 1), "1e999 is not a finite number"),
    (lambda text: text.replace('"words"', '"title"'), "the key 'title' occurs twice"),
    (lambda text: damaged(text, schema="densebench/result"), "not an analysis"),
    (lambda text: damaged(text, version=2), "version 2, but this reader knows 1 only"),
    (lambda text: damaged(text, version=True), "version True"),
    (lambda text: damaged(text, figure="../figure.svg"), "figure breaks the schema"),
    (lambda text: damaged(text, figure="other.svg"), "its figure other.svg is not beside it"),
    (lambda text: "[]", "not an analysis"),
])  # fmt: skip
def test_refused_on_reading(tmp_path, damage, reason):
    path = write_analysis(tmp_path, DOCUMENT, "<svg></svg>")
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=reason):
        read_analysis(path)


def test_scan_names_what_it_cannot_use(tmp_path):
    write_analysis(tmp_path / "b/analysis/one", DOCUMENT, "<svg></svg>")
    write_analysis(tmp_path / "a", DOCUMENT, "<svg></svg>")
    write_analysis(tmp_path / "c", DOCUMENT, "<svg></svg>").write_text("{")
    found, unused = scan_analyses(tmp_path)
    assert [analysis.path for analysis in found] == ["a/analysis.json", "b/analysis/one/analysis.json"]
    assert [(u.path, "truncated" in u.reason) for u in unused] == [("c/analysis.json", True)]


@pytest.fixture
def runs(tmp_path):
    """One record, and analyses of two checkpoints with the same settings, of one with others, and a damaged one."""
    folder = tmp_path / "runs/tiny"
    tree(tmp_path / "runs", methods=("random",), seeds=(0,), tasks=("upernet",), with_pictures=False)
    clip = {**CHECKPOINT, "method": "clip", "captions": "noisy"}
    study = {**CHECKPOINT, "scale": "study"}
    write_analysis(folder / "a", DOCUMENT, "<svg>a</svg>")
    write_analysis(folder / "b", {**DOCUMENT, "checkpoints": [clip]}, "<svg>b</svg>")
    write_analysis(folder / "c", {**DOCUMENT, "settings": {"images": 9}, "title": "<b>"}, "<svg>c</svg>")
    write_analysis(folder / "d", {**DOCUMENT, "checkpoints": [study]}, "<svg>d</svg>")
    write_analysis(folder / "e", DOCUMENT, "<svg>e</svg>").write_text("{")
    return tmp_path / "runs"


def test_analyses_in_the_report(runs):
    report = build(runs)
    assert [len(exhibit.table.rows) for exhibit in report.exhibits] == [1, 2, 1]  # study, tiny twice: no scales mixed
    both = report.exhibits[1]
    assert both.table.caption == "Mean attention distance, scale tiny"
    assert both.table.header == ["Checkpoint", "mean (px)", "File"]
    assert [[cell.text for cell in row] for row in both.table.rows] == [
        ["mae, seed 0", "20.500", "tiny/a/analysis.json"], ["clip, noisy captions, seed 0", "20.500",
                                                            "tiny/b/analysis.json"]]  # fmt: skip
    assert both.table.notes == ["mean: mean distance.", "Settings: images 2."]
    assert [u.path for u in report.unused] == ["tiny/e/analysis.json"]
    page = html.render(report)
    assert page == html.render(build(runs)) and page.count('alt="One head."') == 4 and "<figcaption>&lt;b&gt;" in page
    shown = [base64.b64decode(part.split('"')[0]) for part in page.split("data:image/svg+xml;base64,")[1:]]
    assert shown == [b"<svg>d</svg>", b"<svg>a</svg>", b"<svg>b</svg>", b"<svg>c</svg>"]
    text = markdown.render(report)
    assert "### Mean attention distance, scale tiny" in text
    assert "| mae, seed 0 | 20.500 | tiny/a/analysis.json |" in text


def test_a_report_without_analyses_has_no_section(tmp_path):
    tree(tmp_path, methods=("random",), seeds=(0,), tasks=("upernet",), with_pictures=False)
    report = build(tmp_path)
    assert "Analyses of checkpoints" not in html.render(report) + markdown.render(report)
