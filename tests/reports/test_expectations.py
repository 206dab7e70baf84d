"""What papers lead one to expect, judged by paired intervals, and how it is said."""

from synthetic import STUDY, metric, record, section_of, series

from reports.expectations import findings, sentences


def test_expectations_follow_the_intervals():
    verdicts = {(f"{f.first} − {f.second}", f.task): f.verdict for f in findings(section_of(*STUDY))}
    assert verdicts["MaskCLIP − CLIP", "upernet"] == "cannot be judged"
    assert verdicts["MAE − Random", "upernet"] == verdicts["MAE − Random", "depth"] == "holds"
    assert verdicts["Oracle − MAE", "upernet"] == "holds"
    worse = section_of(*series("clip", 30.0, 31.0, 32.0), *series("maskclip", 28.0, 29.1, 29.9))
    assert [f.verdict for f in findings(worse)] == ["does not hold"]
    level = section_of(*series("clip", 30.0, 31.0, 32.0), *series("maskclip", 31.0, 30.0, 32.0))
    assert [f.verdict for f in findings(level)] == ["not distinguishable"]
    assert next(iter(sentences(findings(level)).values())) == [
        ("not distinguishable", "MaskCLIP − CLIP: UperNet (mIoU) 0.0 ± 2.5 points (n=3).")
    ]


def test_light_encoders_are_judged_each_against_its_own():
    def top1(base, encoder, seed, value):
        entry = record("zero_shot", base, seed, metrics={"top1": metric(value, "%", primary=True)})
        return entry | {"method": f"{'light' if base == 'maskclip' else ''}clip_{encoder}"}

    pairs = ((30.0, 33.0), (31.0, 34.1), (32.0, 34.9))
    entries = [entry for seed, (plain, light) in enumerate(pairs) for entry in (
        top1("clip", "resnet18", seed, plain), top1("maskclip", "resnet18", seed, light),
        top1("maskclip", "mobilenetv2", seed, light))]  # fmt: skip
    found = findings(section_of(*entries))
    assert [(f.task, f.verdict, "+4.2 points" in f.source) for f in found] == [("zero_shot", "holds", True)]


def test_what_is_said_of_every_method_is_said_once_for_a_task():
    spread = {"clip": 25.0, "clip_aligned": 20.0, "maskclip": 24.0, "mae": 30.0, "supervised": 26.0}
    entries = [entry for method, value in ({"random": 20.0, "oracle": 40.0} | spread).items()
               for entry in series(method, value, value + 1, value + 2.02)]  # fmt: skip
    said = {title: texts for (title, _), texts in sentences(findings(section_of(*entries))).items()}
    better = said["Every pretraining is better than random initialisation"]
    assert better == [
        ("holds", "UperNet (mIoU): Supervised +6.0; CLIP (noisy) +5.0; MaskCLIP +4.0; MAE +10.0."),
        ("not distinguishable", "UperNet (mIoU): CLIP (aligned) 0.0."),
    ]
    assert said["The oracle is a ceiling"] == [("holds", "UperNet (mIoU): all 5, +10.0 to +20.0.")]
