"""Training curves beside records: read, thinned, drawn, and named where damaged."""

import json

from synthetic import record

from reports.curves import MOST_POINTS, read_curve, training_curves
from reports.page import build
from reports.records import Record, scan, write_record
from reports.sections import sections


def leave(root, method, text, seed=0):
    folder = root / method / f"seed{seed}"
    write_record(folder, record("upernet", method, seed))
    (folder / "curve.jsonl").write_text(text)


def lines(count):
    return "".join(json.dumps({"iteration": k, "loss": 2 / k, "lr": 0.1}) + "\n" for k in range(1, count + 1))


def test_curves_are_drawn_and_damaged_ones_named(tmp_path):
    leave(tmp_path, "clip", lines(1000))
    leave(tmp_path, "mae", lines(3), seed=0)
    leave(tmp_path, "mae", lines(3), seed=1)
    for method, text in (
        ("random", lines(2) + '{"iteration": 3'),
        ("supervised", '{"iteration": 1, "loss": NaN}\n'),
        ("maskclip", ""),
    ):
        leave(tmp_path, method, text)
    (section,), _ = sections(scan(tmp_path)[0])
    (chart,), unused = training_curves(section, "p")
    assert chart.title == "Training loss, UperNet" and chart.text.startswith("Training loss, UperNet: CLIP from 2 to ")
    assert "MAE from 2 to 0.667" in chart.text and "Random" not in chart.text
    assert [(u.path, u.reason.partition("(")[2][:-1]) for u in unused] == [
        ("random/seed0/curve.jsonl", "line 3 has no iteration and loss"),
        ("supervised/seed0/curve.jsonl", "the loss in line 1 is not finite"),
        ("maskclip/seed0/curve.jsonl", "it is empty"),
    ]
    assert len(build(tmp_path).unused) == 3


def test_long_curves_are_thinned(tmp_path):
    leave(tmp_path, "clip", lines(1000))
    iterations, losses = read_curve(Record("result.json", tmp_path / "clip" / "seed0", {}))
    assert len(iterations) <= MOST_POINTS and iterations[:2] == [1, 10] and losses[1] == 0.2


def test_no_curves_no_chart(tmp_path):
    write_record(tmp_path, record())
    assert build(tmp_path).chapters[0].curves == []
