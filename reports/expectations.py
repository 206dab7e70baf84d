"""What the papers lead one to expect, and what these records say about it: one computed sentence per task.

An expectation holds, or does not hold, only where the paired 95 % interval over seeds leaves out zero. The papers'
budgets are thousands of times a tiny run's: a failed expectation here is a fact about these runs, not about the paper.
"""

from dataclasses import dataclass
from itertools import product

from engine.catalogue import DENSE, TASK
from reports.rows import Row
from reports.sections import TASK_NAMES, Column, Section
from reports.stats import paired
from reports.tables import number

SEGMENTATION, DEPTH, DETECTION = (
    tuple(task for task in DENSE if kind in TASK[task].kinds) for kind in ("seg", "depth", "coco")
)
VERDICTS = ("holds", "not distinguishable", "does not hold", "cannot be judged")
FEW = 4  # pairs; of more, a sentence for each would bury what they say


@dataclass(frozen=True)
class Expectation:
    """`better` should score better than `worse` (method ids) in `tasks`; `source` says who leads one to expect it."""

    title: str
    better: str
    worse: str
    tasks: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Finding:
    """One expectation judged in one task: `label` names the metric, `mean` is first minus second in its unit (None
    without a common seed), `text` says both with the interval."""

    title: str
    source: str
    task: str
    first: str
    second: str
    verdict: str
    label: str
    mean: float | None
    unit: str
    text: str


EXPECTATIONS = (
    Expectation(
        "MaskCLIP is better than CLIP at equal captions",
        "maskclip",
        "clip",
        DENSE,
        "MaskCLIP (arXiv 2208.12262): +2.7 mIoU on ADE20K",
    ),
    Expectation(
        "Better captions are better than noisy ones",
        "clip_aligned",
        "clip",
        DENSE,
        "CLIP with Quality Captions (arXiv 2405.08911)",
    ),
    Expectation(
        "CLIP on good captions is better than MAE in segmentation and depth",
        "clip_aligned",
        "mae",
        (*SEGMENTATION, *DEPTH),
        "arXiv 2405.08911: +12.1 % relative mIoU, −11.5 % RMSE",
    ),
    Expectation(
        "MAE is better than CLIP in detection, even on good captions",
        "mae",
        "clip_aligned",
        DETECTION,
        "arXiv 2405.08911: +0.9 box AP at 2.05 billion samples",
    ),
    Expectation(
        "CAE is better than MAE",
        "cae",
        "mae",
        (*DETECTION, *SEGMENTATION),
        "CAE (arXiv 2202.03026, released code): +1.9 box AP on COCO, +2.2 mIoU on ADE20K",
    ),
    Expectation(
        "MAE is better than CLIP on noisy captions in detection",
        "mae",
        "clip",
        DETECTION,
        "DetailCLIP's table: 46.2 against 43.6 box AP on COCO",
    ),
    *(
        Expectation(
            "LightCLIP is better than CLIP on light encoders",
            f"lightclip_{encoder}",
            f"clip_{encoder}",
            ("zero_shot",),
            f"LightCLIP (arXiv 2312.00674): {gain} points of zero-shot top-1 on ImageNet with {name}",
        )
        for encoder, name, gain in (
            ("resnet18", "ResNet-18", "+4.2"),
            ("mobilenetv2", "MobileNetV2", "+3.8"),
            ("swin_nano", "Swin-Nano", "+3.4"),
        )
    ),
)


def findings(section: Section) -> list[Finding]:
    """Judge every expectation on the section's primary metrics, then floor and ceiling for every competitor."""
    expected = [(e, *pair) for e in EXPECTATIONS for pair in product(*map(section.rows_of, (e.better, e.worse)))]
    floor, ceiling = section.reference("floor"), section.reference("ceiling")
    for row in section.competitors if floor else ():
        trained = Expectation("Every pretraining is better than random initialisation", row.method, floor.method, DENSE,
                              "common to all papers")  # fmt: skip
        expected.append((trained, row, floor))
    for row in section.competitors if ceiling else ():
        oracle = Expectation("The oracle is a ceiling", ceiling.method, row.method, DENSE,
                             "it was pretrained with the dense labels")  # fmt: skip
        expected.append((oracle, ceiling, row))
    primary: dict[str, Column] = {}
    for column in section.columns:
        primary.setdefault(column.task, column)
    return [
        judge(section, primary[task], e, first, second)
        for e, first, second in expected
        for task in e.tasks
        if task in primary
    ]


def judge(section: Section, column: Column, expected: Expectation, first: Row, second: Row) -> Finding:
    """Return what one metric says about one expectation of two rows."""
    difference = paired(section.values(first, column), section.values(second, column), column.direction)
    label = f"{TASK_NAMES[column.task]} ({column.short})"
    unit = section.unit(column)
    words = {"%": " points", "": ""}.get(unit, f" {unit}")  # a difference of percentages is in points
    if difference is None:
        verdict, text = "cannot be judged", f"{label} no common finished seed"
    else:
        text = f"{label} {number(difference.mean, unit, signed=True)}"
        verdict = {"better": "holds", "worse": "does not hold", "n=1": "cannot be judged"}.get(
            difference.verdict, "not distinguishable"
        )
        spread = "" if difference.half is None else f" ± {number(difference.half, unit)}"
        text += f"{spread}{words} (n={difference.n})"
    names = section.name(first), section.name(second)
    mean = None if difference is None else difference.mean
    return Finding(
        expected.title,
        expected.source,
        column.task,
        *names,
        verdict=verdict,
        label=label,
        mean=mean,
        unit=unit,
        text=text,
    )


def sentences(found: list[Finding]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Group findings by (title, source): (verdict, sentence).

    Of few pairs, one sentence joins the tasks in which a pair has one verdict. What is said of every method is one
    sentence for each task and verdict instead, which names the methods: tables hold the intervals.
    """
    grouped: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        grouped.setdefault((finding.title, finding.source), []).append(finding)
    return {
        key: (_by_task if len({(f.first, f.second) for f in members}) > FEW else _by_pair)(members)
        for key, members in grouped.items()
    }


def _by_pair(members: list[Finding]) -> list[tuple[str, str]]:
    texts: dict[tuple[str, str], list[str]] = {}
    for finding in members:
        texts.setdefault((f"{finding.first} − {finding.second}", finding.verdict), []).append(finding.text)
    return [(verdict, f"{pair}: {', '.join(said)}.") for (pair, verdict), said in texts.items()]


def _by_task(members: list[Finding]) -> list[tuple[str, str]]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in members:
        groups.setdefault((finding.label, finding.verdict), []).append(finding)
    labels = list(dict.fromkeys(finding.label for finding in members))
    order = sorted(groups, key=lambda key: (labels.index(key[0]), VERDICTS.index(key[1])))
    return [(verdict, f"{label}: {_named(groups[label, verdict], members)}.") for label, verdict in order]


def _named(group: list[Finding], members: list[Finding]) -> str:
    """The methods of a group with their differences, or of all methods the range of these."""
    means = [number(f.mean, f.unit, signed=True) if f.mean is not None else "" for f in group]
    if len(group) == sum(f.label == group[0].label for f in members) and all(means):
        low, high = (number(pick(f.mean for f in group), group[0].unit, signed=True) for pick in (min, max))
        return f"all {len(group)}, {low} to {high}"
    one = len({f.second for f in members}) == 1  # every method against one, or one against every method
    names = [f.first if one else f.second for f in group]
    return "; ".join(f"{name} {mean}".rstrip() for name, mean in zip(names, means, strict=True))
