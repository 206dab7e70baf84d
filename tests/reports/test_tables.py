"""Golden tables on a small fixture, the ranking gates, and the rule that unlike records never share a table."""

import pytest
from synthetic import METHODS, STUDY, failed, metric, miou, record, rmse, section_of, series

from reports.comparisons import COMPARISONS, comparison_tables, published_differences
from reports.costs import pretraining_cost, settings_table
from reports.markdown import cell_text, table
from reports.records import Record
from reports.sections import sections
from reports.tables import Cell, difference_table, main_table, marks, number, unequal

# By hand: t(0.975, 2) = 4.3027; sd 1 gives 2.484, sd 0.1 gives 0.248; 36, 37.5, 37.5 have sd 0.866, which gives 2.151.
# Pooled sd of UperNet: (1 + 1 + 1 + 0.75) / 4 -> 0.968; (51 - 31) / 0.968 = 20.7. Depth: (1.1 - 0.4) / 0.1 = 7.0.
GOLDEN = """\
### Results

| Method | mIoU UperNet (%) ↑ | depth RMSE (m) ↓ |
| --- | ---: | ---: |
| Random (floor) | 31.0 ± 2.5 (n=3) | 1.100 ± 0.248 (n=3) |
| CLIP (noisy captions) | 33.0 ± 2.5 (n=3) | failed: out of \\| memory &lt;b> (1 of 1 runs) |
| MaskCLIP (noisy captions) | ≈33.5 (n=1, 1 failed) | missing |
| MAE | **37.0** ± 2.2 (n=3) | 0.800 ± 0.248 (n=3) |
| Oracle (ceiling, not ranked) | 51.0 ± 2.5 (n=3) | 0.400 ± 0.248 (n=3) |
| Headroom (ceiling − floor) | open (20.7 seed sd) | open (7.0 seed sd) |
"""


def test_golden_main_table():
    assert "\n".join(table(main_table(section_of(*STUDY)))).startswith(GOLDEN)


def test_notes_name_what_is_missing_or_failed():
    notes = " ".join(main_table(section_of(*STUDY)).notes)
    for text in (
        "Failed: MaskCLIP, UperNet, seed 1: disk is full",
        "Failed: CLIP, Depth, seed 0: out of | memory <b>",
        "No records here for Mask R-CNN, Cascade Mask R-CNN, SemanticFPN",
        "different numbers of seeds",
    ):
        assert text in notes


def test_golden_differences():
    section = section_of(*STUDY)
    rows = [[cell_text(cell) for cell in row] for row in difference_table(section).rows]
    # MAE - Random: 6, 6.5, 5.5 -> 6.0, sd 0.5, half 1.242
    assert rows == [
        ["CLIP (noisy captions)", "+2.0 ± 0.0 (n=3, better)", "missing"],
        ["MaskCLIP (noisy captions)", "+3.5 (n=1)", "missing"],
        ["MAE", "+6.0 ± 1.2 (n=3, better)", "−0.300 ± 0.000 (n=3, better)"],
        ["Oracle (ceiling, not ranked)", "+20.0 ± 0.0 (n=3, better)", "−0.700 ± 0.000 (n=3, better)"],
    ]
    against_mae, maskclip = comparison_tables(section)
    rows = [[cell_text(cell) for cell in row] for row in [*against_mae.rows, *maskclip.rows]]
    assert rows == [
        ["CLIP − MAE", "−4.0 ± 1.2 (n=3, worse)", "missing"],
        ["MaskCLIP − MAE", "−2.5 (n=1)", "missing"],
        ["published: CLIP DataCompDR − MAE (Apple 2405.08911, ViT-B/16)", "+3.6 (ADE20K)", "–"],
        ["published: CLIP − MAE (DetailCLIP 2409.06809, ViT-B/16)", "−0.1 (ADE20K)", "–"],
        ["published: MaskCLIP − MAE (DetailCLIP 2409.06809, ViT-B/16)", "+1.0 (ADE20K)", "–"],
        ["MaskCLIP − CLIP", "+1.5 (n=1)", "missing"],
        ["published: MaskCLIP − CLIP (MaskCLIP 2208.12262, ViT-B/16)", "+2.7 (ADE20K)", "–"],
        ["published: MaskCLIP − CLIP, re-evaluated (DetailCLIP 2409.06809, ViT-B/16)", "+1.1 (ADE20K)", "–"],
    ]
    assert against_mae.kinds == ["", "", *["published"] * 3]


def test_every_declared_published_row_is_in_the_file():
    known = {entry.label: published_differences(entry) for c in COMPARISONS for entry in c.published}
    assert all(known.values()), known
    assert known["CLIP on DataComp(DR) − MAE"] == {("mask_rcnn", "box_AP"): (-0.9, "COCO")}
    assert known["FD of CLIP − CLIP"] == {
        ("upernet", "mIoU"): (pytest.approx(3.3), "ADE20K"),
        ("finetune", "top1"): (pytest.approx(2.0), "ImageNet-1K"),
    }
    assert known["CAE − MAE"]["mask_rcnn", "box_AP"] == (pytest.approx(1.9), "COCO")
    assert known["VeCLIP (enriched and mixed) − CLIP"]["retrieval", "image_to_text_R1"][0] == pytest.approx(29.2)
    assert known["SLIP − CLIP"]["linear_probe", "top1"][0] == pytest.approx(5.6)


def test_variants_are_ablations_of_their_method():
    pixels = [{**entry, "method": "mae-pixels", "name": "MAE, pixels"} for entry in series("mae", 28.0, 29.0)]
    (ablations,) = comparison_tables(section_of(*series("mae", 30.0, 31.5), *pixels))
    assert ablations.caption == "Ablations"
    assert [cell_text(cell) for cell in ablations.rows[0]] == ["MAE, pixels − MAE", "−2.2 ± 3.2 (n=2, ≈ 0)"]


def test_marks_by_gate():
    closed = section_of(
        *series("random", 30.0, 31.0, 32.0),
        *series("oracle", 32.0, 33.0, 34.0),
        *series("clip", 40.0, 41.0, 42.0),
        *series("mae", 30.0, 31.0, 32.0),
    )
    assert marks(closed, closed.columns[0]) == {}
    assert main_table(closed).rows[-1][1].text == "no headroom"
    single = section_of(*series("random", 30.0), *series("oracle", 50.0), *series("clip", 35.0), *series("mae", 36.0))
    assert {row.method: mark for row, mark in marks(single, single.columns[0]).items()} == {"mae": "highest"}
    assert main_table(single).rows[-1][1] == Cell("not testable", "one seed", "missing")
    near = section_of(
        *series("random", 30.0, 30.1),
        *series("oracle", 50.0, 50.1),
        *series("clip", 35.0, 36.0),
        *series("mae", 36.5, 36.0),
        *series("supervised", 20.0, 20.1),
    )
    assert {row.method: mark for row, mark in marks(near, near.columns[0]).items()} == {"mae": "best", "clip": "close"}


def test_lower_is_better_and_references_are_never_best():
    section = section_of(
        *series("random", 0.1, 0.1, make=rmse),
        *series("oracle", 0.05, 0.05, make=rmse),
        *series("clip", 0.8, 0.8, make=rmse),
        *series("mae", 0.9, 0.9, make=rmse),
    )
    assert {row.method: mark for row, mark in marks(section, section.columns[0]).items()} == {"clip": "best"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scale", "study"),
        ("dataset", "camvid"),
        ("tested_on", "val"),
        ("protocol", "scenes-upernet-tiny-v2"),
        ("checkpoint", {"sha256": "0" * 64, "encoder": {"name": "other_vit", "kwargs": {}}}),
    ],
)
def test_unlike_records_never_share_a_table(key, value):
    entries = [miou("clip", 0, 30.0), miou("mae", 0, 31.0, **{key: value})]
    found, unused = sections([Record(f"{k}/result.json", None, entry) for k, entry in enumerate(entries)])
    assert [len(section.rows) for section in found] == [1, 1] and unused == []


def test_regularisation_does_not_make_another_encoder():
    checkpoint = record()["checkpoint"]
    kwargs = checkpoint["encoder"]["kwargs"] | {"drop_path_rate": 0.1}
    regularised = checkpoint | {"encoder": checkpoint["encoder"] | {"kwargs": kwargs}}
    assert len(section_of(miou("clip", 0, 30.0), miou("mae", 0, 31.0, checkpoint=regularised)).rows) == 2


def test_switches_of_one_size_share_a_table_and_are_named():
    def on(name, **kwargs):
        own = {"img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 4, **kwargs}
        return {"sha256": "0" * 64, "encoder": {"name": name, "kwargs": own}}

    def beit(**kwargs):
        return on("beit_base_patch16_224", num_heads=3, use_shared_rel_pos_bias=True, **kwargs)

    entries = [miou("clip", 0, 30.0), miou("maskclip", 0, 30.0), miou("mae", 0, 31.0, checkpoint=beit())]
    section = section_of(*entries)  # vit_tiny has 3 heads by its name
    assert section.encoder == "plain ViT, patch 8, width 96, 4 blocks, 3 heads, 64 px"
    note = "MAE: beit_base_patch16_224, num_heads=3, use_shared_rel_pos_bias=true."
    assert any(note in text and "CLIP:" not in text for text in unequal(section))
    assert not any("switches" in text for text in unequal(section_of(*entries[:2])))
    wider = miou("mae", 0, 31.0, checkpoint=beit(embed_dim=192))
    found, _ = sections([Record(f"{k}/result.json", None, e) for k, e in enumerate([entries[0], wider])])
    assert len(found) == 2


def test_settings_say_whether_the_search_was_equal():
    def notes(*entries):
        return " ".join(settings_table(section_of(*entries)).notes)

    search = record()["selection"]
    shorter = search | {"trials": search["trials"][:1]}
    assert "same grid and the same number" in notes(miou("clip", 0, 30.0), miou("mae", 0, 31.0))
    assert "Unequal search for UperNet: MAE" in notes(miou("clip", 0, 30.0), miou("mae", 0, 31.0, selection=shorter))
    assert "Unequal search for UperNet: MAE" in notes(miou("clip", 0, 30.0), miou("mae", 0, 31.0, selection=None))
    assert "given, not searched" in notes(miou("clip", 0, 30.0, selection=None))


def test_another_unit_is_named():
    entries = [miou("clip", 0, 30.0), record("upernet", "mae", metrics={"mIoU": metric(0.3, "", primary=True)})]
    found, unused = sections([Record(f"{k}/result.json", None, entry) for k, entry in enumerate(entries)])
    assert len(found[0].records) == 1
    assert unused[0].path == "1/result.json" and "mIoU in ''" in unused[0].reason


def test_trials_are_counted_not_shown():
    trial = miou("clip", 0, 99.0, role="trial", split="val", protocol="scenes-upernet-tiny-search")
    section = section_of(miou("clip", 0, 30.0), trial)
    assert section.trials == 1 and len(section.records) == 1
    found, unused = sections([Record("t/result.json", None, trial)])
    assert found == [] and "no final record" in unused[0].reason


def test_a_task_that_failed_everywhere_keeps_its_columns():
    section = section_of(miou("clip", 0, 30.0), failed("disk is full", task="mask_rcnn", method="clip"))
    assert [cell.text for cell in main_table(section).rows[0][1:]] == [*["failed: disk is full"] * 2, "30.0"]


def test_unequal_budgets_are_said():
    big = miou("mae", 0, 31.0, budget=record()["budget"] | {"pretrain_updates": 9, "pretrain_samples": 999})
    assert "CLIP: 352,000; MAE: 999" in unequal(section_of(miou("clip", 0, 30.0), big))[0]
    untold = miou("mae", 0, 31.0, budget=record()["budget"] | {"pretrain_samples": None})
    assert "CLIP: 352,000; MAE: unknown" in unequal(section_of(miou("clip", 0, 30.0), untold))[0]
    long = miou("mae", 0, 31.0, settings=record()["settings"] | {"iterations": 800})
    assert unequal(section_of(miou("clip", 0, 30.0), long)) == [
        "Fine-tuning for UperNet differs in iterations: 400, 800."
    ]
    assert unequal(section_of(miou("clip", 0, 30.0), miou("mae", 0, 31.0))) == []


def test_same_names_are_told_apart():
    section = section_of(miou("clip", 0, 30.0), miou("clip_aligned", 0, 31.0), miou("mae", 0, 32.0))
    assert [section.name(row) for row in section.rows] == ["CLIP (noisy)", "CLIP (aligned)", "MAE"]


def test_rows_keep_their_order():
    section = section_of(*(miou(method, 0, 30.0) for method in sorted(METHODS)))
    assert [row.method for row in section.rows] == list(METHODS)


def test_numbers():
    assert [number(-0.04, "%"), number(-0.04, "%", signed=True), number(-1.25, "m"), number(3, "%", signed=True)] == [
        "0.0",
        "0.0",
        "−1.250",
        "+3.0",
    ]


def test_pretraining_sets_of_one_method_are_rows_of_their_own():
    def on(samples, value, seed=0, **changes):
        data = {} if samples is None else {"pretrain_data": {"name": "scenes", "samples": samples}}
        return miou("clip", seed, value, budget=record()["budget"] | data, **changes)

    content = main_table(section_of(on(4096, 30.0), on(16384, 34.0), miou("mae", 0, 33.0)))
    assert [row[0].text for row in content.rows[:3]] == [
        "CLIP (noisy captions; 16,384 samples of scenes)",
        "CLIP (noisy captions; 4,096 samples of scenes)",
        "MAE",
    ]
    section = section_of(on(4096, 30.0), on(16384, 34.0), miou("mae", 0, 33.0))
    assert [row.data for row in section.rows_of("clip")] == [("scenes", 16384)], "comparisons take the largest"
    # records of older versions do not say it: one row, as long as nothing contradicts it
    assert [row.data for row in section_of(on(4096, 30.0), on(None, 31.0, seed=1)).rows] == [None]
    three = section_of(on(None, 31.0), on(4096, 30.0), on(16384, 34.0))
    assert [row.pretrained_on for row in three.rows] == [
        "16,384 samples of scenes",
        "4,096 samples of scenes",
        "pretraining data not recorded",
    ]


def test_earlier_stages_are_named_beside_the_cost():
    budget = record()["budget"] | {"earlier_stages": [{"method": "clip", "samples": 64000, "wall_s": 543.6}]}
    notes = pretraining_cost(section_of(miou("clip", 0, 30.0), miou("mae", 0, 31.0, budget=budget))).notes
    assert notes[1:] == ["MAE comes after clip (64,000 samples, 544 s), not counted in its row."]
