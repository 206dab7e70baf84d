"""Pareto fronts against a plain search, gains per hour by hand, and which charts are drawn."""

import numpy as np
import pytest
from synthetic import record
from test_tables import miou, section_of

from reports.costs import pretraining_cost
from reports.fronts import Point, front, fronts, gain_table
from reports.markdown import cell_text
from reports.records import Record
from reports.sections import Row, sections


def costing(method, value, seconds, stages=(), **changes):
    entry = miou(method, 0, value, **changes)
    entry["cost"] |= {"pretrain_wall_s": seconds}
    if stages:
        entry["budget"] |= {"earlier_stages": [{"method": "mae", "samples": 1, "wall_s": s} for s in stages]}
    return entry


@pytest.mark.parametrize("direction", ["up", "down"])
def test_front_is_what_a_plain_search_finds(direction):
    generator = np.random.default_rng(1)
    rows = [Row(str(k), None, str(k), None) for k in range(30)]
    points = [Point(row.name, row, *map(float, generator.integers(0, 6, 2))) for row in rows]
    sign = 1 if direction == "up" else -1
    expected = set()
    for p in points:
        cheaper = [q for q in points if q.cost <= p.cost]
        better = [q for q in cheaper if sign * q.score > sign * p.score]
        equal_for_less = [q for q in cheaper if q.score == p.score and q.cost < p.cost]
        if not better and not equal_for_less:
            expected.add(p.name)
    found = front(points, direction)
    assert {p.name for p in found} == expected and [p.cost for p in found] == sorted(p.cost for p in found)


def test_gain_per_hour_by_hand():
    section = section_of(
        costing("random", 20.0, 0),
        costing("clip", 23.0, 1800),
        costing("mae", 24.0, 3600, (3600,)),
        costing("maskclip", 22.0, 7200),
        costing("supervised", 30.0, None),
    )
    content = gain_table(section)
    assert [[cell_text(cell) for cell in row] for row in content.rows] == [
        ["Supervised", "not recorded", "–"],
        ["CLIP (noisy captions)", "0.5", "+6.0 (on the front)"],
        ["MaskCLIP (noisy captions)", "2", "+1.0"],
        ["MAE", "2", "+2.0 (on the front)"],
    ]
    assert gain_table(section_of(costing("clip", 23.0, 1800))) is None  # no floor


def test_which_charts_are_drawn():
    small = {"sha256": "1" * 64, "encoder": {"name": "vit_tiny_patch16_224", "kwargs": {"depth": 2}}}
    one = [costing("clip", 23.0, 1800), costing("mae", 24.0, 3600), costing("random", 1.0, 0)]
    other = [costing("clip", 20.0, 900, checkpoint=small)]
    for entry in other:
        entry["cost"] |= {"parameters": 1_000_000, "flops": 1e8}

    def titles(*entries, latency):
        parts, _ = sections([Record(str(k), None, e) for k, e in enumerate(entries)])
        return [chart.title.partition(" against ")[2].partition(":")[0] for chart in fronts(parts, latency)]

    assert titles(*one, latency={}) == ["pretraining time (h)"]
    assert titles(*one, *other, latency={}) == [
        "pretraining time (h)",
        "parameters of the whole model (M)",
        "FLOPs of the encoder (G)",
    ]
    shas = [entry["checkpoint"]["sha256"] for entry in one]
    here = {shas[0]: 1.0, shas[1]: 2.0}
    assert titles(*one, latency={"m": here}) == ["pretraining time (h)", "latency of the encoder (ms)"]
    # one encoder measured here and one there never meet in a chart; both on two machines are two charts
    assert titles(*one, latency={"m": {shas[0]: 1.0}, "n": {shas[1]: 2.0}}) == ["pretraining time (h)"]
    assert len(titles(*one, latency={"m": here, "n": here})) == 3
    assert titles(costing("clip", 23.0, 60), costing("mae", 24.0, 60), latency={}) == []
    elsewhere = costing("mae", 24.0, 3600, hardware=record()["hardware"] | {"cpu": "another"})
    parts, _ = sections([Record(str(k), None, e) for k, e in enumerate([one[0], elsewhere])])
    assert fronts(parts, {})[0].title.endswith("scale tiny, times of 2 machines: not comparable")
    assert "different hardware" in pretraining_cost(parts[0]).notes[-1]
    parts, _ = sections([Record(str(k), None, e) for k, e in enumerate([*one, *other])])
    text = fronts(parts, {})[0].text
    assert "CLIP, " in text and "4 blocks" in text and "2 blocks" in text and "Random" not in text
    assert fronts(sections([Record("k", None, record("knn", "clip"))])[0], {}) == []
