"""What a report says, before any format: built once from records, rendered by markdown.py and html.py."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import UserError
from reports.analyses import scan_analyses
from reports.comparisons import comparison_tables
from reports.costs import finetuning_cost, pretraining_cost, settings_table
from reports.curves import training_curves
from reports.exhibits import Exhibit, exhibits, latencies
from reports.expectations import findings, sentences
from reports.figures import charts
from reports.fronts import fronts, gain_table
from reports.panels import Panel, panels
from reports.published import NOTE as PUBLISHED_NOTE
from reports.published import published_tables
from reports.records import Unused, scan
from reports.rows import Row
from reports.sections import TASK_NAMES, Section, sections
from reports.summaries import summary_tables
from reports.svg import Chart
from reports.tables import Cell, Table, difference_table, main_table, row_label

TITLE = "DenseBench: pretraining for dense prediction"
AGAIN = (
    "The page is a pure function of the records: delete it and the last line rebuilds it byte for byte. Each run's own "
    "command, configuration hash and checkpoint stand in its part above.",
    "make demo      # one seed, minutes\nmake study     # all methods and seeds, hours\n"
    "python -m reports RUNS_DIR --out report/",
)


@dataclass
class Chapter:
    """Everything the report says about one section."""

    anchor: str
    section: Section
    lead: str
    limits: list[str]
    main: Table
    charts: list[Chart]
    differences: list[Table]
    summaries: list[Table]
    findings: dict[tuple[str, str], list[tuple[str, str]]]  # (expectation, source) -> (verdict, sentence)
    panels: list[Panel]
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
    unused: list[Unused]
    counts: Counter = field(default_factory=Counter)


def build(root: str | Path) -> Report:
    """Scan `root` and compute the report. Raises `UserError` if no final record is usable."""
    records, unused = scan(root)
    parts, odd = sections(records)
    analyses, spoiled = scan_analyses(root)
    unused = unused + odd + spoiled
    if not parts:
        why = f" ({len(unused)} not usable, the first {unused[0].path}: {unused[0].reason})" if unused else ""
        raise UserError(f"{root}: no final result record below this folder{why}; run `make demo` or name another one.")
    chapters = []
    for k, section in enumerate(parts, start=1):
        pictures, lost = panels(section)
        curves, cut = training_curves(section, f"part{k}")
        unused += lost + cut
        chapters.append(_chapter(f"part{k}", section, pictures, curves))
    counts = Counter(record["role"] for record in records)
    unused.sort(key=lambda u: u.path)
    against_cost = fronts(parts, latencies(analyses))
    return Report(
        TITLE,
        chapters,
        fronts=against_cost,
        exhibits=exhibits(analyses),
        published=published_tables(),
        published_note=PUBLISHED_NOTE,
        unused=unused,
        counts=counts,
    )


def _chapter(anchor: str, section: Section, pictures: list[Panel], curves: list[Chart]) -> Chapter:
    tables = (difference_table(section), *comparison_tables(section))
    return Chapter(
        anchor,
        section,
        lead=_lead(section),
        limits=limits(section),
        main=main_table(section),
        charts=charts(section, anchor),
        differences=[table for table in tables if table],
        summaries=summary_tables(section),
        findings=sentences(findings(section)),
        panels=pictures,
        curves=curves,
        costs=[table for table in (pretraining_cost(section), gain_table(section), finetuning_cost(section)) if table],
        settings=settings_table(section),
        provenance=_provenance(section),
        runs=_runs(section),
    )


def _lead(section: Section) -> str:
    """One paragraph: what was compared, on what, how often."""
    names = _listed([section.name(row) for row in section.competitors]) or "no pretrained encoder"
    floor, ceiling = section.reference("floor"), section.reference("ceiling")
    between = _listed([f"{row.name} as the {kind}" for row, kind in ((floor, "floor"), (ceiling, "ceiling")) if row])
    tasks = _listed([name for task, name in TASK_NAMES.items() if task in section.protocols])
    failed = sum(record["status"] == "failed" for record in section.records)
    seeds = ", ".join(map(str, section.seeds))
    return (
        f"Compared: {names}{f', with {between}' if between else ''}. All share one encoder, "
        f"{section.encoder.partition('(')[0]}, and are evaluated on {section.dataset}, {section.split} split, "
        f"by {tasks}. "
        f"{_plural(len(section.records), 'final run')}, {failed} of them failed; "
        f"{_plural(len(section.seeds), 'seed')} ({seeds})."
    )


def limits(section: Section) -> list[str]:
    """What these runs cannot show: tiny scale, one seed, no reference lines, no headroom. Empty where none applies."""
    found = []
    if section.scale == "tiny":
        found.append(
            "Scale tiny spends minutes on pretraining. It shows that the whole path works, what it costs and "
            "that it repeats. It cannot show which pretraining is best: at such budgets gains over random "
            "initialisation are often within the noise or negative, and longer runs may turn the order "
            "round. The evidence is the study scale (make study)."
        )
    single = [
        column.label for column in section.columns if any(len(section.values(row, column)) == 1 for row in section.rows)
    ]
    if single:
        everywhere = len(single) == len(section.columns)
        where = "Every cell" if everywhere and len(section.seeds) == 1 else f"Some cells ({', '.join(single)})"
        found.append(
            f"{where}: one seed, n=1. There is no interval and no test; a difference between two methods may "
            "be nothing but the seed."
        )
    for kind, name in (("floor", "random initialisation"), ("ceiling", "the oracle")):
        if section.reference(kind) is None:
            found.append(f"Without {name} the headroom between floor and ceiling is unknown, so no column is ranked.")
    shared = [row for row in section.rows if shares_pretraining(section, row)]
    if shared:
        apart = [section.name(row) for row in section.rows if row not in shared]
        names = (
            _listed([section.name(row) for row in shared])
            if len(apart) > len(shared)
            else f"all methods but {_listed(apart)}"
            if apart
            else "all methods"
        )
        found.append(
            f"Seeds are those of fine-tuning for {names}: each was pretrained once, so intervals leave out "
            "the variance of pretraining (tools/study.py --pretrain-anew includes it)."
        )
    closed = [column.label for column in section.columns if section.gate(column).state == "no headroom"]
    if closed:
        found.append(
            f"No headroom in {_listed(closed)}: floor and ceiling lie within three seed standard deviations, "
            "so differences between methods there are noise and are not ranked."
        )
    return found


def shares_pretraining(section: Section, row: Row) -> bool:
    """Whether several seeds of a row fine-tuned one and the same checkpoint."""
    weights = {
        (r["seed"], r["checkpoint"]["sha256"]) for r in section.records if section.row_of(r) == row and r["checkpoint"]
    }
    return len({seed for seed, _ in weights}) > len({sha for _, sha in weights})


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
        mixed = "; ".join(f"{value} ({_plural(n, 'run')})" for value, n in values)
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


def _listed(names: list[str]) -> str:
    """Join names with commas and "and"; with semicolons where a name has a comma of its own."""
    if len(names) < 2:
        return "".join(names)
    inner = any("," in name for name in names)
    return ("; " if inner else ", ").join(names[:-1]) + ("; and " if inner else " and ") + names[-1]


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
