"""Tables in docs/ that stand between marks of a corpus are those that a report makes of it, byte for byte."""

import re
from pathlib import Path

import pytest

from reports import markdown
from reports.page import build

MARKS = re.compile(r"<!-- results of (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)
DOCS = [(path, *found) for path in sorted(Path("docs").glob("*.md")) for found in MARKS.findall(path.read_text())]


@pytest.mark.parametrize(("path", "corpus", "shown"), DOCS, ids=[f"{path.stem}-{corpus}" for path, corpus, _ in DOCS])
def test_a_table_of_the_docs_is_that_of_its_corpus(path, corpus, shown):
    chapters = build(corpus).chapters
    assert shown == "\n".join(line for chapter in chapters for line in markdown.table(chapter.main)) + "\n"


def test_every_corpus_stands_in_the_docs():
    there = {path.as_posix() for path in Path("reports/corpus").glob("*.jsonl.gz")}
    assert there and there == {corpus for _, corpus, _ in DOCS}
