"""Every table of the report as a CSV and a LaTeX file, named by its part and caption."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator

from reports.page import Report
from reports.tables import Cell, Table

SYMBOLS = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#",
           "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
           "±": r"$\pm$", "−": "$-$", "≈": r"$\approx$", "∞": r"$\infty$", "δ": r"$\delta$", "τ": r"$\tau$",
           "°": r"$^\circ$", "–": "--", "\N{NO-BREAK SPACE}": "~"}  # fmt: skip
LOOKS = {"best": r"\textbf{%s}", "close": r"$\approx$%s", "highest": r"%s$^\circ$"}
PREAMBLE = "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}; written by python -m reports.\n"


def render(report: Report) -> dict[str, str]:
    """{file name: text} of all tables. The run lists are in CSV alone: they would fill pages of a paper."""
    files: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for part, table, paper in _tables(report):
        name = f"{part}-{slug(table.caption)}"
        seen[name] += 1
        name += f"-{seen[name]}" if seen[name] > 1 else ""
        files[f"{name}.csv"] = as_csv(table)
        if paper:
            files[f"{name}.tex"] = as_latex(table)
    return files


def slug(caption: str) -> str:
    """The caption in small letters, digits and hyphens, cut where a file's name could become too long."""
    return re.sub(r"[^a-z0-9]+", "-", caption.lower()).strip("-")[:100]


def as_csv(table: Table) -> str:
    """Header and rows; where a column has small lines below its values, they stand in a column of their own."""
    detailed = [any(row[k].sub for row in table.rows) for k in range(len(table.header))]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    header = [text.replace("\N{NO-BREAK SPACE}", " ") for text in table.header]
    writer.writerow(
        [text for k, name in enumerate(header) for text in ([name, f"{name}: detail"] if detailed[k] else [name])]
    )
    for row in table.rows:
        writer.writerow([text for k, c in enumerate(row) for text in ([c.text, c.sub] if detailed[k] else [c.text])])
    return buffer.getvalue()


def as_latex(table: Table) -> str:
    """A `table` with booktabs rules, notes below in small print."""
    columns = "".join("l" if k < table.text_columns else "r" for k in range(len(table.header)))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(table.caption)}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        f"{' & '.join(map(escape, table.header))} \\\\",
        r"\midrule",
    ]
    for row, kind in zip(table.rows, table.kinds, strict=True):
        if {"ceiling", "footer", "start", "family"} & set(kind.split()) and lines[-1] != r"\midrule":
            lines.append(r"\midrule")
        lines.append(f"{' & '.join(map(_cell, row))} \\\\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines += [rf"\par\footnotesize {escape(note)}" for note in table.notes]
    return PREAMBLE + "\n".join([*lines, r"\end{table}", ""])


def escape(text: str) -> str:
    """Text with LaTeX's special characters and the report's signs as commands."""
    return "".join(SYMBOLS.get(character, character) for character in text)


def _cell(cell: Cell) -> str:
    text = LOOKS.get(cell.kind, "%s").replace("%s", escape(cell.text))
    return f"{text} {{\\scriptsize {escape(cell.sub)}}}" if cell.sub else text


def _tables(report: Report) -> Iterator[tuple[str, Table, bool]]:
    """(part, table, whether it is for a paper)."""
    for chapter in report.chapters:
        shown = (chapter.main, chapter.architectures, *chapter.differences, *chapter.summaries, *chapter.classes,
                 *chapter.costs, chapter.settings)  # fmt: skip
        for table in filter(None, shown):
            yield chapter.anchor, table, True
        yield chapter.anchor, chapter.runs, False
    for exhibit in report.exhibits:
        yield "analyses", exhibit.table, True
    for table in report.published:
        yield "published", table, True
