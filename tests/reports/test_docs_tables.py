"""Tables in docs/ that stand between marks of a corpus are those that a report makes of it, byte for byte.

A mark is `results of CORPUS`, or `results of CORPUS --rows PATTERN ...` as `python -m reports` takes them.
"""

import re
import shlex
from pathlib import Path

import pytest

from reports import markdown
from reports.page import build

MARKS = re.compile(r"<!-- results of (\S+)(?: --rows (.+?))? -->\n(.*?)<!-- end -->", re.DOTALL)
DOCS = [(path, *found) for path in sorted(Path("docs").glob("*.md")) for found in MARKS.findall(path.read_text())]


@pytest.mark.parametrize(("path", "corpus", "rows", "shown"), DOCS, ids=[f"{one[0].stem}-{one[1]}" for one in DOCS])
def test_a_table_of_the_docs_is_that_of_its_corpus(path, corpus, rows, shown):
    chapters = build(corpus, rows=shlex.split(rows)).chapters
    assert shown == "\n".join(line for chapter in chapters for line in markdown.table(chapter.main)) + "\n"


def test_every_corpus_stands_in_the_docs():
    there = {path.as_posix() for path in Path("reports/corpus").glob("*.jsonl.gz")}
    assert there and there == {corpus for _, corpus, _, _ in DOCS}
