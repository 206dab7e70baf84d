"""Charts as inline SVG: the same bytes each time, ink that follows the page's light and dark, colours told apart."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from reports.sections import Row

# Okabe and Ito's palette: told apart with any common colour blindness. One method keeps one colour on every page.
COLOURS = {"random": "#999999", "supervised": "#E69F00", "clip": "#56B4E9", "clip_aligned": "#0072B2",
           "maskclip": "#009E73", "mae": "#D55E00"}
FURTHER = ("#CC79A7", "#B8A900", "#8C6BB1", "#A6761D")
INK, GRID = "#010203", "#040506"  # placeholders that become CSS colours of the page
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "densebench", "font.size": 9, "font.family": "DejaVu Sans",
    "text.color": INK, "axes.edgecolor": GRID, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
}


@dataclass(frozen=True)
class Chart:
    """A titled SVG element, ready to stand in a page; `text` says the same in words."""

    title: str
    svg: str
    text: str


def colours(rows: Sequence[Row]) -> dict[Row, str]:
    """A colour for each row: its method's own, or one of the further ones in the order of the rows."""
    unknown = [row.method for row in rows if row.method not in COLOURS]
    return {row: COLOURS.get(row.method) or FURTHER[unknown.index(row.method) % len(FURTHER)] for row in rows}


def inline(figure: Figure, prefix: str) -> str:
    """Return the figure as an SVG element for a page; `prefix` keeps element ids apart on one page.

    What only a file needs is stripped, and ink and grid are handed over to the page's style sheet.
    """
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href=", "href=")
    svg = re.sub(r'id="', f'id="{prefix}-', svg)
    svg = svg.replace('href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    svg = svg.replace(INK, "currentColor").replace(GRID, "var(--line)")
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return "\n".join(line.rstrip() for line in svg.strip().splitlines())
