"""What a report says, before any format: built once from records, rendered by markdown.py and html.py."""

import contextlib
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import yaml

from engine.errors import UserError
from reports.analyses import scan_analyses
from reports.answers import answer_table, cannot_tell
from reports.classes import class_tables, confusions, finer_tables
from reports.comparisons import comparison_tables
from reports.corpora import opened
from reports.costs import finetuning_cost, pretraining_cost, settings_table
from reports.curves import training_curves
from reports.exhibits import Exhibit, exhibits, latencies
from reports.expectations import findings, sentences
from reports.figures import charts
from reports.fronts import fronts, gain_table
from reports.limits import limits
from reports.own import architectures_table
from reports.panels import Panel, panels
from reports.published import NOTE as PUBLISHED_NOTE
from reports.published import published_tables
from reports.records import Unused, scan
from reports.rows import chosen
from reports.sections import TASK_NAMES, Section, sections
from reports.summaries import summary_tables
from reports.svg import Chart
from reports.tables import Cell, Table, difference_table, main_table, row_label
from reports.words import listed, plural

TITLE = "DenseBench: pretraining for dense prediction"
AGAIN = (
    "The page is a pure function of the records: delete it and the last line rebuilds it byte for byte. Each run's own "
    "command, configuration hash and checkpoint stand in its part above."
)
REBUILD = "python -m reports RUNS --out report/"
STUDIES = "make demo      # one seed, minutes\nmake study     # all methods and seeds, hours\n"
CITATION = Path(__file__).resolve().parents[1] / "CITATION.cff"


@dataclass
class Chapter:
    """Everything the report says about one section."""

    anchor: str
    section: Section
    answer: Table
    cannot_tell: list[str]
    lead: str
    limits: list[str]
    architectures: Table | None
    main: Table
    charts: list[Chart]
    differences: list[Table]
    summaries: list[Table]
    findings: dict[tuple[str, str], list[tuple[str, str]]]  # (expectation, source) -> (verdict, sentence)
    panels: list[Panel]
    classes: list[Table]
    confusions: list[Chart]
    curves: list[Chart]
    costs: list[Table]
    settings: Table
    provenance: list[tuple[str, str]]
    runs: Table


@dataclass
class Report:
    """The whole report: chapters in a fixed order, cost, analyses, published numbers apart, files not used."""

    title: str
    chapters: list[Chapter]
    fronts: list[Chart]
    exhibits: list[Exhibit]
    published: list[Table]
    published_note: str
    again: tuple[str, str]
    cite: str
    unused: list[Unused]
    counts: Counter = field(default_factory=Counter)


def build(*sources: str | Path, rows: Sequence[str] = ()) -> Report:
    """The report of the records of folders of runs and of corpora.

    Args:
        rows: patterns of the names of encoders; none: all.

    Raises:
        UserError: no final record is usable, or a pattern names nobody.
    """
    with contextlib.ExitStack() as opening:
        return _build([opening.enter_context(opened(source)) for source in sources], ", ".join(map(str, sources)), rows)


def _build(roots: Sequence[Path], named: str, rows: Sequence[str]) -> Report:
    """The report of folders that people call `named`."""
    found, unused = scan(*roots)
    records = chosen(found, rows)
    parts, odd = sections(records)
    if rows:  # floors and ceilings alone are no comparison
        parts = [part for part in parts if part.competitors] or parts
    analyses, spoiled = zip(*map(scan_analyses, roots), strict=True)
    analyses, unused = [*chain(*analyses)], [*unused, *odd, *chain(*spoiled)]
    if not parts:
        why = f" ({len(unused)} not usable, the first {unused[0].path}: {unused[0].reason})" if unused else ""
        raise UserError(f"{named}: no final result record below this folder{why}; run `make demo` or name another one.")
    chapters = []
    for k, section in enumerate(parts, start=1):
        pictures, lost = panels(section)
        curves, cut = training_curves(section, f"part{k}")
        unused += lost + cut
        chapters.append(_chapter(f"part{k}", section, pictures, curves, rows))
    counts = Counter(record["role"] for record in records)
    counts["left out"] = len(found) - len(records)
    unused.sort(key=lambda u: u.path)
    against_cost = fronts(parts, latencies(analyses))
    return Report(
        TITLE,
        chapters,
        fronts=against_cost,
        exhibits=exhibits(analyses),
        published=[] if all(section.own for section in parts) else published_tables(),
        published_note=PUBLISHED_NOTE,
        again=again(parts, rows),
        cite=citation(),
        unused=unused,
        counts=counts,
    )


def again(parts: list[Section], rows: Sequence[str] = ()) -> tuple[str, str]:
    """How to make the report anew, and the commands; those of the suite's own studies only beside their data."""
    rebuild = f"{REBUILD} --rows {shlex.join(rows)}" if rows else REBUILD
    return AGAIN, rebuild if all(section.own for section in parts) else STUDIES + rebuild


def citation() -> str:
    """One line from CITATION.cff, and its request."""
    stated = yaml.safe_load(CITATION.read_text())
    authors = listed([author.get("name") or " ".join((author["given-names"], author["family-names"]))
                      for author in stated["authors"]])  # fmt: skip
    return f"{authors}. {stated['title'].rstrip('?.')}. Version {stated['version']}. {stated['message']}"


def _chapter(anchor: str, section: Section, pictures: list[Panel], curves: list[Chart], rows: Sequence[str]) -> Chapter:
    tables = (difference_table(section), *(() if section.own else comparison_tables(section)))
    cannot = limits(section)
    return Chapter(
        anchor,
        section,
        answer=answer_table(section),
        cannot_tell=cannot_tell(cannot),
        lead=_lead(section, rows),
        limits=cannot,
        architectures=architectures_table(section) if section.own else None,
        main=main_table(section),
        charts=charts(section, anchor),
        differences=[table for table in tables if table],
        summaries=summary_tables(section),
        findings={} if section.own else sentences(findings(section)),
        panels=pictures,
        classes=[*finer_tables(section), *class_tables(section)],
        confusions=confusions(section, anchor),
        curves=curves,
        costs=[table for table in (pretraining_cost(section), gain_table(section), finetuning_cost(section)) if table],
        settings=settings_table(section),
        provenance=_provenance(section),
        runs=_runs(section),
    )


def _lead(section: Section, rows: Sequence[str]) -> str:
    """One paragraph: what was compared, on what, how often, and whether encoders were chosen among more."""
    compared = listed([section.name(row) for row in section.competitors]) or "no pretrained encoder"
    ends = {kind: [section.name(row) for row in section.references(kind)] for kind in ("floor", "ceiling")}
    between = listed([f"{listed(them)} as the {kind}{'s' * (len(them) > 1)}" for kind, them in ends.items() if them])
    tasks = listed([name for task, name in TASK_NAMES.items() if task in section.protocols])
    failed = sum(record["status"] == "failed" for record in section.records)
    seeds = ", ".join(map(str, section.seeds))
    known = {*section.encoders.values()}
    shared = f"All share one encoder, {section.encoder.partition('(')[0]}, and" if len(known) < 2 else "They"
    return (
        f"Compared: {compared}{f', with {between}' if between else ''}. {shared} are evaluated on {section.dataset}, "
        f"{section.split} split, by {tasks}. "
        f"{plural(len(section.records), 'final run')}, {failed} of them failed; "
        f"{plural(len(section.seeds), 'seed')} ({seeds})."
        + (f" Shown are those encoders of the records alone whose names fit {shlex.join(rows)}." if rows else "")
    )


def _provenance(section: Section) -> list[tuple[str, str]]:
    """Code, configuration, versions and hardware behind a section; more than one value of a kind is said."""
    records = section.records
    facts = {"Encoder": Counter([section.encoder])}
    facts |= {
        f"Protocol, {name}": Counter([section.protocols[task]])
        for task, name in TASK_NAMES.items()
        if task in section.protocols
    }
    facts |= {"Code version": Counter(r["code_version"] for r in records)}
    for name in sorted({name for r in records for name in r["versions"]}):
        facts[name] = Counter(r["versions"].get(name, "not recorded") for r in records)
    facts["Device"] = Counter(r["hardware"]["device"] for r in records)
    facts["Processor"] = Counter(r["hardware"]["cpu"] for r in records)
    facts["Threads"] = Counter(str(r["hardware"]["threads"]) for r in records)
    lines = []
    for name, counter in facts.items():
        values = sorted(counter.items())
        mixed = "; ".join(f"{value} ({plural(n, 'run')})" for value, n in values)
        lines.append((name, values[0][0] if len(values) == 1 else f"mixed: {mixed}"))
    return lines


def _runs(section: Section) -> Table:
    header = ["Task", "Method", "Seed", "State", "Command", "Config hash", "Checkpoint", "Record"]
    rows = []
    for task in (name for name in TASK_NAMES if name in section.protocols):
        for row in section.rows:
            for r in section.of(row, task):
                sha = r["checkpoint"]["sha256"][:12] if r["checkpoint"] else "none"
                state = Cell("ok") if r["status"] == "ok" else Cell("failed", "", "failed")
                rows.append(
                    [
                        Cell(TASK_NAMES[task]),
                        Cell(row_label(row)),
                        Cell(str(r["seed"])),
                        state,
                        Cell(r["command"]),
                        Cell(r["config_hash"][:12]),
                        Cell(sha),
                        Cell(r.path),
                    ]
                )
    return Table("Runs", header, rows, [""] * len(rows), text_columns=len(header))
