"""What the papers lead one to expect, and what these records say about it: one computed sentence per task.

An expectation holds, or does not hold, only where the paired 95 % interval over seeds leaves out zero. The papers'
budgets are thousands of times a tiny run's: a failed expectation here is a fact about these runs, not about the paper.
"""

from dataclasses import dataclass

from reports.sections import TASK_NAMES, Column, Section
from reports.stats import paired
from reports.tables import number

SEGMENTATION_AND_DEPTH = ("upernet", "semantic_fpn", "depth")
DETECTION = ("mask_rcnn",)
ALL_TASKS = (*DETECTION, *SEGMENTATION_AND_DEPTH)


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
    """One sentence on one expectation in one metric; `verdict` opens it."""

    title: str
    source: str
    task: str
    verdict: str
    sentence: str


EXPECTATIONS = (
    Expectation("MaskCLIP is better than CLIP at equal captions", "maskclip", "clip", ALL_TASKS,
                "MaskCLIP (arXiv 2208.12262): +2.7 mIoU on ADE20K"),
    Expectation("Better captions are better than noisy ones", "clip_aligned", "clip", ALL_TASKS,
                "CLIP with Quality Captions (arXiv 2405.08911)"),
    Expectation("CLIP on good captions is better than MAE in segmentation and depth", "clip_aligned", "mae",
                SEGMENTATION_AND_DEPTH, "arXiv 2405.08911: +12.1 % relative mIoU, −11.5 % RMSE"),
    Expectation("MAE is better than CLIP in detection, even on good captions", "mae", "clip_aligned", DETECTION,
                "arXiv 2405.08911: +0.9 box AP at 2.05 billion samples"),
    Expectation("MAE is better than CLIP on noisy captions in detection", "mae", "clip", DETECTION,
                "DetailCLIP's table: 46.2 against 43.6 box AP on COCO"),
)


def findings(section: Section) -> list[Finding]:
    """Judge every expectation on the section's primary metrics, then floor and ceiling for every competitor."""
    expected = [*EXPECTATIONS]
    floor, ceiling = section.reference("floor"), section.reference("ceiling")
    for row in section.competitors:
        if floor:
            expected.append(Expectation("Every pretraining is better than random initialisation", row.method,
                                        floor.method, ALL_TASKS, "common to all papers"))
    for row in section.competitors:
        if ceiling:
            expected.append(Expectation("The oracle is a ceiling", ceiling.method, row.method, ALL_TASKS,
                                        "it was pretrained with the dense labels"))
    primary: dict[str, Column] = {}
    for column in section.columns:
        primary.setdefault(column.task, column)
    return [finding for e in expected for task in e.tasks if task in primary
            if (finding := judge(section, primary[task], e)) is not None]


def judge(section: Section, column: Column, expected: Expectation) -> Finding | None:
    """Return the sentence on one expectation in one metric; None where the section has not both methods."""
    first, second = section.row(expected.better), section.row(expected.worse)
    if first is None or second is None:
        return None
    difference = paired(section.values(first, column), section.values(second, column), column.direction)
    label = f"{TASK_NAMES[column.task]} ({column.short})"
    pair = f"{first.name} − {second.name}"
    if difference is None:
        return Finding(expected.title, expected.source, column.task, "cannot be judged",
                       f"{label}: {pair} has no common finished seed.")
    unit = section.unit(column)
    value = f"{pair} = {number(difference.mean, unit, signed=True)}{' ' + unit if unit else ''}"
    if difference.half is None:
        return Finding(expected.title, expected.source, column.task, "cannot be judged",
                       f"{label}: {value} in one seed, which has no interval.")
    verdict = {"better": "holds", "worse": "does not hold"}.get(difference.verdict, "not distinguishable")
    return Finding(expected.title, expected.source, column.task, verdict,
                   f"{label}: {value} ± {number(difference.half, unit)} over {difference.n} seeds.")
