"""Tables as CSV and LaTeX: golden text, escaping, and a file for each table under a name of its own."""

import csv
import io
import re

from synthetic import tree
from test_tables import STUDY, section_of

from reports.page import build
from reports.table_files import as_csv, as_latex, escape, render
from reports.tables import Cell, Table, main_table

LATEX = r"""% Needs \usepackage{booktabs} and \usepackage{graphicx}; written by python -m reports.
\begin{table}
\centering
\caption{A \& B}
\resizebox{\linewidth}{!}{%
\begin{tabular}{lr}
\toprule
Method & mIoU (\%)~$\uparrow$ \\
\midrule
clip\_aligned & \textbf{33.0} {\scriptsize $\pm$ 2.5, n=3} \\
\midrule
mae & $\approx$$-$1.0 \\
\bottomrule
\end{tabular}}
\par\footnotesize Held \$5 \#1.
\end{table}
"""


def small():
    rows = [[Cell("clip_aligned"), Cell("33.0", "± 2.5, n=3", "best")], [Cell("mae"), Cell("−1.0", "", "close")]]
    return Table("A & B", ["Method", "mIoU (%)\xa0↑"], rows, ["", "family"], ["Held $5 #1."])


def test_golden_latex_and_csv():
    assert as_latex(small()) == LATEX
    assert as_csv(small()) == 'Method,mIoU (%) ↑,mIoU (%) ↑: detail\nclip_aligned,33.0,"± 2.5, n=3"\nmae,−1.0,\n'


def test_latex_is_balanced_and_escaped():
    text = as_latex(main_table(section_of(*STUDY)))
    bare = re.sub(r"\\[{}%$&#_]", "", text)
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    assert len({line.count(" & ") for line in bare.splitlines() if line.endswith("\\\\")}) == 1
    assert escape("a\\b^~{x}") == r"a\textbackslash{}b\textasciicircum{}\textasciitilde{}\{x\}"


def test_every_table_has_its_files(tmp_path):
    report = build(tree(tmp_path, seeds=(0,), tasks=("upernet", "knn"), with_pictures=False))
    files = render(report)
    chapter = report.chapters[0]
    tables = [chapter.main, *chapter.differences, *chapter.summaries, *chapter.costs, chapter.settings]
    assert len(files) == 2 * len(tables) + 1 + 2 * len(report.published)
    assert {name for name in files if name.endswith(".csv")} >= {"part1-results.csv", "part1-runs.csv"}
    rows = list(csv.reader(io.StringIO(files["part1-results.csv"])))
    assert len(rows) == 1 + len(chapter.main.rows) and len({len(row) for row in rows}) == 1
