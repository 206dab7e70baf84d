"""The report as one self-contained HTML page: inline style, inline SVG, pictures as data URIs, no script."""

import re
from pathlib import Path

import jinja2

from reports.page import Report

TEMPLATES = Path(__file__).parent / "templates"


def render(report: Report) -> str:
    """Return the page; every text from records is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["together"] = together
    style = (TEMPLATES / "style.css").read_text().strip()
    return environment.get_template("page.html.j2").render(report=report, style=style)


def together(text: str) -> str:
    """`text` with no line break inside an interval."""
    return re.sub(r"\[[^\]]*\]|± \S+", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
