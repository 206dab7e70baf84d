"""The main tables as one CSV file: a line per section, method and metric, full precision, nothing left out."""

import pandas

from reports.page import Report
from reports.tables import marks

FIELDS = (
    "scale",
    "dataset",
    "split",
    "encoder",
    "task",
    "protocol",
    "metric",
    "unit",
    "direction",
    "method",
    "captions",
    "pretrain_data",
    "name",
    "family",
    "variant",
    "reference_kind",
    "state",
    "n",
    "mean",
    "sd",
    "ci95_half_width",
    "seeds",
    "failed",
    "headroom",
    "mark",
)


def render(report: Report) -> str:
    """Return the CSV text; empty fields where a value does not exist."""
    lines = []
    for section in (chapter.section for chapter in report.chapters):
        for column in section.columns:
            ranked, gate = marks(section, column), section.gate(column)
            for row in section.rows:
                values, failed = section.values(row, column), section.failures(row, column.task)
                summary = section.summary(row, column)
                lines.append(
                    {
                        "scale": section.scale,
                        "dataset": section.dataset,
                        "split": section.split,
                        "encoder": section.encoder,
                        "task": column.task,
                        "protocol": section.protocols[column.task],
                        "metric": column.name,
                        "unit": section.unit(column),
                        "direction": column.direction,
                        "method": row.method,
                        "captions": row.captions,
                        "pretrain_data": row.pretrained_on or None,
                        "name": row.name,
                        "family": row.family,
                        "variant": row.variant or None,
                        "reference_kind": row.kind,
                        "state": "ok" if values else "failed" if failed else "missing",
                        "n": len(values),
                        "mean": summary and summary.mean,
                        "sd": summary and summary.sd,
                        "ci95_half_width": summary and summary.half,
                        "seeds": " ".join(map(str, sorted(values))),
                        "failed": " | ".join(f"seed {seed}: {why}" for seed, why in failed.items()),
                        "headroom": gate.state if gate.state != "not testable" else f"not testable: {gate.reason}",
                        "mark": ranked.get(row, ""),
                    }
                )
    return pandas.DataFrame(lines, columns=FIELDS, dtype=object).to_csv(index=False, lineterminator="\n")
