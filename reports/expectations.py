"""What the papers lead one to expect, and what these records say about it: one computed sentence per task.

An expectation holds, or does not hold, only where the paired 95 % interval over seeds leaves out zero. The papers'
budgets are thousands of times a tiny run's: a failed expectation here is a fact about these runs, not about the paper.
"""

from dataclasses import dataclass

from reports.sections import TASK_NAMES, Column, Section
from reports.stats import paired
from reports.tables import number

SEGMENTATION = ("upernet", "semantic_fpn")
SEGMENTATION_AND_DEPTH = (*SEGMENTATION, "depth")
DETECTION = ("mask_rcnn", "cascade_mask_rcnn")
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
    """One expectation judged in one task: `pair` names first minus second, `text` its difference and interval."""

    title: str
    source: str
    task: str
    pair: str
    verdict: str
    text: str


EXPECTATIONS = (
    Expectation("MaskCLIP is better than CLIP at equal captions", "maskclip", "clip", ALL_TASKS,
                "MaskCLIP (arXiv 2208.12262): +2.7 mIoU on ADE20K"),
    Expectation("Better captions are better than noisy ones", "clip_aligned", "clip", ALL_TASKS,
                "CLIP with Quality Captions (arXiv 2405.08911)"),
    Expectation("CLIP on good captions is better than MAE in segmentation and depth", "clip_aligned", "mae",
                SEGMENTATION_AND_DEPTH, "arXiv 2405.08911: +12.1 % relative mIoU, −11.5 % RMSE"),
    Expectation("MAE is better than CLIP in detection, even on good captions", "mae", "clip_aligned", DETECTION,
                "arXiv 2405.08911: +0.9 box AP at 2.05 billion samples"),
    Expectation("CAE is better than MAE", "cae", "mae", (*DETECTION, *SEGMENTATION),
                "CAE (arXiv 2202.03026, released code): +1.9 box AP on COCO, +2.2 mIoU on ADE20K"),
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
    """Return what one metric says about one expectation; None where the section has not both methods."""
    first, second = section.row(expected.better), section.row(expected.worse)
    if first is None or second is None:
        return None
    difference = paired(section.values(first, column), section.values(second, column), column.direction)
    label = f"{TASK_NAMES[column.task]} ({column.short})"
    unit = section.unit(column)
    words = {"%": " points", "": ""}.get(unit, f" {unit}")  # a difference of percentages is in points
    if difference is None:
        verdict, text = "cannot be judged", f"{label} no common finished seed"
    else:
        text = f"{label} {number(difference.mean, unit, signed=True)}"
        verdict = {"better": "holds", "worse": "does not hold", "n=1": "cannot be judged"}.get(
            difference.verdict, "not distinguishable")
        spread = "" if difference.half is None else f" ± {number(difference.half, unit)}"
        text += f"{spread}{words} (n={difference.n})"
    pair = f"{section.name(first)} − {section.name(second)}"
    return Finding(expected.title, expected.source, column.task, pair, verdict, text)


def sentences(found: list[Finding]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Group findings by (title, source) and join the tasks in which a pair has one verdict: (verdict, sentence)."""
    grouped: dict[tuple[str, str], dict[tuple[str, str], list[str]]] = {}
    for finding in found:
        verdicts = grouped.setdefault((finding.title, finding.source), {})
        verdicts.setdefault((finding.pair, finding.verdict), []).append(finding.text)
    return {key: [(verdict, f"{pair}: {', '.join(texts)}.") for (pair, verdict), texts in verdicts.items()]
            for key, verdicts in grouped.items()}
