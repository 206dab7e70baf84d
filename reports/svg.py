"""Charts as inline SVG: the same bytes each time, ink that follows the page's light and dark, colours told apart."""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from engine.catalogue import METHODS
from reports.rows import METHOD_ORDER, Row

COLOURS = {method.id: method.colour for method in METHODS if method.colour}
FURTHER = ("#CC79A7", "#B8A900", "#8C6BB1", "#A6761D")  # methods without a colour of their own share these
STROKES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (7, 2, 1, 2)), (0, (2, 4)))  # lines of one colour differ by these,
MARKERS = "os^DvP*"  # and points by these
INK, GRID = "#010203", "#040506"  # placeholders that become CSS colours of the page
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "densebench",
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "text.parse_math": False,  # a dollar in a method's name is no formula
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Chart:
    """A titled SVG element, ready to stand in a page; `text` says the same in words."""

    title: str
    svg: str
    text: str


def style(rows: Sequence[Row]) -> list[tuple[str, str, tuple | str]]:
    """(colour, marker, stroke) for each of `rows`, in their order.

    A known method has the same look in every chart; what shares its colour, or is drawn a second time, differs in
    marker and stroke.
    """
    names = {row: row.method if row.method in METHOD_ORDER else row.name for row in rows}
    places = [name for name in dict.fromkeys((*METHOD_ORDER, *names.values())) if name not in COLOURS]
    looks, used = [], set()
    for row in rows:
        place = places.index(names[row]) if names[row] in places else 0
        colour, step = COLOURS.get(names[row], FURTHER[place % len(FURTHER)]), place // len(FURTHER)
        while (colour, step) in used and step < 2 * len(MARKERS):
            step += 1
        used.add((colour, step))
        looks.append((colour, MARKERS[step % len(MARKERS)], STROKES[step % len(STROKES)]))
    return looks


def inline(figure: Figure, prefix: str) -> str:
    """Return the figure as an SVG element for a page; `prefix` keeps element ids apart on one page.

    What only a file needs is stripped, and ink and grid are handed over to the page's style sheet.
    """
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # text stays text: the reader's fonts draw it
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href=", "href=")
    svg = re.sub(r'id="', f'id="{prefix}-', svg)
    svg = svg.replace('href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    svg = svg.replace(INK, "currentColor").replace(GRID, "var(--line)")
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return "\n".join(line.rstrip() for line in svg.strip().splitlines())
