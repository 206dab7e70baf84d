"""Read every result.json below RUNS and write a report.

    python -m reports runs/tiny --out report/demo
    python -m reports runs/tiny runs/tiny-mine reports/corpus/demo.jsonl.gz     yours beside others', in one report
    python -m reports runs/tiny --rows 'MAE*' CAE                               these encoders, floor and ceiling
    python -m reports runs/tiny --pack mine.jsonl.gz                            the records in one file, for others

leaves index.html (one offline page with tables, charts and predictions), report.md, main.csv, tables/ with each table
as CSV and LaTeX, and cards/ with a model card per checkpoint. The same records give the same bytes. Records that cannot
be used are listed in the report with the reason; none is dropped silently.
"""

import gc
from collections.abc import Sequence
from pathlib import Path

import start


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report's files; print the main tables and the page's path."""
    parser = start.parser_of(__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUNS", help="a folder that holds runs, for example runs/tiny, or a"
                        " corpus, a study's records in one file (docs/formats.md)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder to write to (default: %(default)s)")
    parser.add_argument(
        "--rows",
        nargs="+",
        default=[],
        metavar="NAME",
        help="show the encoders whose names fit one"
        " of these patterns of the shell, beside random weights and the oracle (default: all)",
    )
    parser.add_argument("--pack", metavar="FILE", help="write the records into a corpus and no report")
    options = parser.parse_args(arguments)
    if options.pack:
        from engine.errors import UserError
        from reports.corpora import pack

        if options.rows:
            raise UserError("--pack leaves nothing out: give --rows where the corpus is read")
        return print(pack(options.runs, options.pack))
    from reports import cards, html, main_csv, markdown, table_files
    from reports.output import write_report
    from reports.page import build

    report = build(*options.runs, rows=options.rows)
    records = [record for chapter in report.chapters for record in chapter.section.records]
    removed = write_report(options.out, {
        "report.md": markdown.render(report), "main.csv": main_csv.render(report),
        **{f"tables/{name}": text for name, text in table_files.render(report).items()},
        **{f"cards/{name}": text for name, text in cards.render(records).items()},
        "index.html": html.render(report),
    })  # fmt: skip
    print(markdown.summary(report))
    if report.unused:
        print(f"\nNot used: {len(report.unused)} (the page lists each with its reason).")
    if removed:
        print(f"\nRemoved: {len(removed)} files that only an earlier report in this folder had.")
    print(f"\nReport: {options.out / 'index.html'}")


if __name__ == "__main__":
    gc.disable()  # records stay until the end: searching millions of objects for cycles takes a third of the time
    start.run(main)
