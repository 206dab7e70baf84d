"""The report as Markdown, tables first; the pictures and charts are in the HTML page."""

from collections.abc import Iterable

from reports.page import Chapter, Report
from reports.tables import Cell, Table


def render(report: Report) -> str:
    """Return the whole report as Markdown."""
    lines = [
        f"# {report.title}",
        "",
        "Charts and pictures of predictions are in [index.html](index.html), the values in [main.csv](main.csv), "
        "each table as CSV and LaTeX in [tables](tables).",
        "",
    ]
    for chapter in report.chapters:
        lines += _chapter(chapter)
    if report.exhibits:
        lines += ["## Analyses of checkpoints", "", "Their figures are in [index.html](index.html).", ""]
    for exhibit in report.exhibits:
        lines += table(exhibit.table)
    if report.published:
        lines += ["## Published numbers (paper-reported, never mixed with ours)", "", report.published_note, ""]
    for published in report.published:
        lines += table(published)
    lines += ["## Files not used", ""]
    lines += [f"- `{unused.path}`: {_escape(unused.reason)}" for unused in report.unused] or ["None."]
    lines += ["", "## How to rerun", "", report.again[0], "", "```", report.again[1], "```", ""]
    return "\n".join([*lines, "## How to cite", "", report.cite, ""])


def summary(report: Report) -> str:
    """Return only the main tables, for the terminal."""
    lines = []
    for chapter in report.chapters:
        lines += [chapter.section.title, "", *aligned(chapter.main), ""]
    return "\n".join(lines).rstrip()


def table(content: Table, heading: str = "### ") -> list[str]:
    """Return the lines of one table with its caption and notes."""
    left = content.text_columns
    lines = [
        f"{heading}{content.caption}",
        "",
        _line(_escape(text) for text in content.header),
        _line("---" if k < left else "---:" for k in range(len(content.header))),
    ]
    lines += [_line(cell_text(cell) for cell in row) for row in content.rows]
    return [*lines, "", *(f"- {_escape(note)}" for note in content.notes), *([""] if content.notes else [])]


def findings(chapter: Chapter) -> list[str]:
    """Return the lines of what the papers lead one to expect and what the records say; none where nobody is judged."""
    lines = ["### What the papers lead one to expect", ""] if chapter.findings else []
    for (title, source), found in chapter.findings.items():
        lines += [f"**{title}** ({source})", "", *(f"- {verdict}: {_escape(text)}" for verdict, text in found), ""]
    return lines


def cell_text(cell: Cell) -> str:
    """Return a cell on one line: marks as in the page, the small line in brackets or after the plus-minus sign."""
    text, sub = _escape(cell.text), _escape(cell.sub)
    text = {"best": f"**{text}**", "close": f"≈{text}", "highest": f"{text}°"}.get(cell.kind, text)
    if sub.startswith("± "):
        spread, _, rest = sub.partition(", ")
        return f"{text} {spread} ({rest})"
    return f"{text} ({sub})" if sub else text


def _chapter(chapter: Chapter) -> list[str]:
    lines = [f"## {chapter.section.title}", "", _escape(chapter.lead), "", *table(chapter.answer)]
    if chapter.limits:
        lines += ["> **What these runs can and cannot show**", ">", *(f"> - {line}" for line in chapter.limits), ""]
    for content in (chapter.main, *filter(None, [chapter.architectures]), *chapter.differences):
        lines += table(content)
    for content in chapter.summaries:
        lines += table(content)
    lines += findings(chapter)
    for content in (*chapter.classes, *chapter.costs, chapter.settings):
        lines += table(content)
    lines += [
        "### Where the runs come from",
        "",
        *(f"- {name}: {_escape(value)}" for name, value in chapter.provenance),
        "",
    ]
    return lines + table(chapter.runs)


def aligned(content: Table) -> list[str]:
    """The table with columns padded to equal width: a terminal does not render Markdown."""
    rows = [content.header, *([cell_text(cell) for cell in row] for row in content.rows)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(content.header))]
    lines = [
        _line(
            text.ljust(width) if k == 0 else text.rjust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = _line("-" * width for width in widths)
    return [lines[0], rule, *lines[1:]]


def _line(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
