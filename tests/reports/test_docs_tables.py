"""Tables in docs/ that stand between marks of a corpus are those that a report makes of it, byte for byte."""

import gzip
import re
from pathlib import Path

import pytest

from reports.docs_tables import DOCS, MARK, filled

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
MARKED = [page for page, text in PAGES.items() if "<!-- end -->" in text]


@pytest.mark.parametrize("page", MARKED)
def test_a_page_is_that_of_its_corpora(page):
    assert filled(PAGES[page]) == PAGES[page], "write it anew: python -m reports.docs_tables"


@pytest.mark.parametrize("page", MARKED)
def test_every_end_has_a_mark_that_is_read(page):
    assert PAGES[page].count("<!-- end -->") == len(MARK.findall(PAGES[page]))


def test_every_corpus_stands_in_the_docs():
    there = {path.as_posix() for path in Path("reports/corpus").glob("*.jsonl.gz")}
    assert there and there == {found[2] for text in PAGES.values() for found in MARK.findall(text)}


def test_no_corpus_names_a_place_of_a_machine():
    for corpus in sorted(Path("reports/corpus").glob("*.jsonl.gz")):
        text = gzip.decompress(corpus.read_bytes()).decode()
        assert not re.findall(r"(?<![\w.}/])/(?:work|home|root|tmp|Users)/[^\s\"]*", text), corpus


def test_a_number_that_is_not_the_corpuss_is_found():
    page = PAGES["demo"]
    row = next(line for line in page.splitlines() if line.startswith("| MAE |"))
    assert filled(page.replace(row, row.replace(".", ",", 1))) == page
