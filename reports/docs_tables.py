"""Tables of docs/ that are a corpus's: `python -m reports.docs_tables` writes each anew, and a test holds them to it.

<!-- results of reports/corpus/demo.jsonl.gz -->                     the main table
<!-- cost of reports/corpus/scenes.jsonl.gz --rows '*images' -->     the cost of pretraining, of some rows
<!-- findings of reports/corpus/scenes.jsonl.gz -->                  what the papers lead one to expect
<!-- end -->                                                         behind each
"""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from engine.files import write_bytes
from reports import markdown
from reports.page import Chapter, build

DOCS = Path(__file__).resolve().parents[1] / "docs"
CONTENTS: dict[str, Callable[[Chapter], list[str]]] = {
    "results": lambda chapter: markdown.table(chapter.main),
    "cost": lambda chapter: markdown.table(chapter.costs[0]),
    "findings": markdown.findings,
}
MARK = re.compile(rf"(<!-- ({'|'.join(CONTENTS)}) of (\S+)(?: --rows (.+?))? -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, root: Path = DOCS.parent) -> str:
    """A page with what stands between its marks made anew from the corpora; these lie below `root`."""

    def anew(found: re.Match) -> str:
        begin, content, corpus, rows, end = found.groups()
        chapters = build(root / corpus, rows=shlex.split(rows or "")).chapters
        return begin + "".join(f"{line}\n" for chapter in chapters for line in CONTENTS[content](chapter)) + end

    return MARK.sub(anew, text)


def main() -> None:
    """Write every page of docs/ anew and name those that changed."""
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            write_bytes(path, new.encode())
            print(path.relative_to(DOCS.parent))


if __name__ == "__main__":
    main()
