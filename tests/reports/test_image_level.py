"""Columns of the image-level tasks: intervals over images, chance, and what needs a text tower."""

from synthetic import metric, record, untrained
from test_tables import miou, section_of, series

from reports.markdown import cell_text, table
from reports.records import Record
from reports.sections import sections
from reports.tables import main_table, marks


def image_level(method, seed=0, tasks=("zero_shot", "retrieval", "knn", "linear_probe")):
    return [record(task, method, seed) for task in tasks]


def test_columns_cells_and_chance():
    entries = [*image_level("clip"), *image_level("mae", tasks=("knn", "linear_probe")), *series("mae", 30.0)]
    for entry, value in zip(entries[:6], (30.0, 20.0, 60.0, 65.0, 64.0, 70.0), strict=True):
        name = next(iter(entry["metrics"]))
        shift = value - entry["metrics"][name]["value"]
        for key in {"value", "low", "high"} & entry["metrics"][name].keys():
            entry["metrics"][name][key] += shift
    entries[1]["metrics"]["text_to_image_R1"]["value"] = 15.0
    content = main_table(section_of(*entries))
    assert content.header == [
        "Method",
        *(
            f"{label} (%)\xa0↑"
            for label in (
                "mIoU UperNet",
                "zero-shot top-1",
                "retrieval I2T R@1",
                "retrieval T2I R@1",
                "linear top-1",
                "k-NN top-1",
            )
        ),
    ]
    cells = [[cell_text(cell) for cell in row] for row in content.rows]
    assert cells[0] == [
        "CLIP (noisy captions)",
        "missing",
        "30.0 ([28.0, 32.0], n=1)",
        "20.0 ([18.0, 22.0], n=1)",
        "15.0 (n=1)",
        "65.0 (n=1)",
        "60.0 ([58.0, 62.0], n=1)",
    ]
    assert cells[1][1:5] == ["30.0 (n=1)", *["– (no text tower)"] * 3]
    notes = " ".join(content.notes)
    assert "Guessing gives: zero-shot top-1 14.3, retrieval I2T R@1 0.8, k-NN top-1 14.3." in notes
    assert "[low, high]: 95 % bootstrap interval over the test images of one run" in notes
    assert table(content)[2].startswith("| Method |")


def test_a_task_that_needs_text_is_no_missing_seed():
    notes = main_table(section_of(record("zero_shot", "clip"), record("knn", "clip"), record("knn", "mae"))).notes
    assert not any("different numbers of seeds" in note for note in notes)
    notes = main_table(section_of(record("zero_shot", "clip"), record("knn", "mae"))).notes
    assert any("different numbers of seeds" in note for note in notes)


def test_several_seeds_show_the_interval_over_seeds():
    entries = [entry for seed in range(3) for entry in image_level("clip", seed, ("knn",))]
    cell = main_table(section_of(*entries)).rows[0][1]
    assert cell.sub.startswith("± ") and cell.sub.endswith("n=3") and "images" not in cell.sub


def test_mean_per_class_is_a_column_only_where_it_is_primary():
    both = record("zero_shot", "clip")
    both["metrics"]["mean_per_class"] = metric(10.0, "%")
    assert [c.name for c in section_of(both).columns] == ["top1"]
    called_for = record("zero_shot", "clip", metrics={"mean_per_class": metric(10.0, "%", primary=True)})
    assert [c.name for c in section_of(called_for).columns] == ["mean_per_class"]


def test_settings_of_what_nothing_trains_are_a_note():
    from reports.costs import settings_table

    entry = record("knn", "clip", settings=untrained(), selection=None)
    content = settings_table(section_of(entry, record("upernet", "clip")))
    assert [row[0].text for row in content.rows] == ["UperNet"]
    assert content.notes[-1] == "k-NN: nothing is trained, so there are no settings."


def test_families_and_variants_keep_their_place():
    entries = [miou(method, 0, 30.0) for method in ("random", "clip", "maskclip", "mae", "oracle")]
    entries += [
        {**miou("mae", 0, 30.0), "method": "mae-pixels"},
        {**miou("mae", 0, 30.0), "method": "other", "family": "new"},
    ]
    content = main_table(section_of(*entries))
    section = sections([Record(str(k), None, e) for k, e in enumerate(entries)])[0][0]
    assert [row.method for row in section.rows] == [
        "random",
        "clip",
        "maskclip",
        "mae",
        "mae-pixels",
        "other",
        "oracle",
    ]
    assert content.kinds == ["floor", "", "", "family", "", "family", "ceiling", "footer"]


def test_holm_keeps_more_methods_close_than_single_tests_would():
    floor, ceiling = series("random", 10.0, 10.1, 10.2), series("oracle", 60.0, 60.1, 60.2)
    best = series("mae", 40.0, 40.1, 40.2)
    near = series("clip", 39.0, 39.5, 39.0)  # t = 5.3 over 2 degrees of freedom: p = 0.034 alone, 0.068 of two
    also = series("clip_aligned", 38.9, 39.4, 38.9)  # p = 0.028 alone, 0.056 as the smaller of two
    found = {row.method: mark for row, mark in marks(section_of(*floor, *ceiling, *best, *near), COLUMN).items()}
    assert found == {"mae": "best"}
    found = {row.method: mark for row, mark in marks(section_of(*floor, *ceiling, *best, *near, *also), COLUMN).items()}
    assert found == {"mae": "best", "clip": "close", "clip_aligned": "close"}


COLUMN = section_of(miou("mae", 0, 30.0)).columns[0]
