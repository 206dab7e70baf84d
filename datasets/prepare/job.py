"""One preparation from beginning to end: arrange, check unless nothing changed, write manifest and overlay, report."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets.prepare.findings import CannotTrain, Findings
from datasets.prepare.options import OWN
from datasets.prepare.place import MANIFEST, Place
from engine.config import read
from engine.errors import UserError
from engine.files import sha256
from engine.provenance import REPOSITORY, code_version


@dataclass
class Plan:
    """What a data set's module found in the source and put into the place.

    Attributes:
        check: fills the findings and returns what they settle of `data` (classes, size).
        data: the data section that reads the prepared folder.
        command: what can be run now, seen from the checkout; `--data` is added to it where there is an overlay.
        overlay: whether to write `data` as an overlay file; extra: further keys of it; remarks: one sentence in it.
        done: what was linked or converted, a sentence each.
    """

    check: Callable[[Findings], dict[str, Any]]
    data: dict[str, Any]
    command: str
    overlay: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    remarks: str = ""
    done: list[str] = field(default_factory=list)


def paper_plan(place: Place, config: str, command: str, done: list[str]) -> Plan:
    """The plan, its check yet to be given, of data that a config of scale "paper" reads by itself from data/.

    Prepared elsewhere, they need an overlay, and have their folder's name, so that no report takes them for the others.
    """
    data = read(REPOSITORY / config).data.to_dict()
    data.pop("_delete_", None)
    elsewhere = Path(data["root"]).resolve() != place.out.resolve()
    data["root"] = str(place.out)
    if elsewhere:
        data["name"] = place.name
    return Plan(lambda findings: {}, data, command, overlay=elsewhere, done=done)


def prepare(kind: str, arrange: Callable[[Place, dict], Plan], source: str, out: str | None, options: dict) -> None:
    """Prepare `source` as a data set of `kind` in `out` and print one screen about it.

    Args:
        arrange: of the kind's module: recognises the layout, links or converts, and says how to check.
        out: the folder; by default data/ and the kind's or, for a user's own data, the source's name.
        options: the command line's other values.

    Raises:
        UserError: the layout is not recognised, or the data cannot be trained on.
    """
    named = Path(source).resolve()
    default = (named.stem if named.is_file() else named.name) if kind in OWN else kind
    place = Place(Path(out or Path("data", default)), kind, Path(source))
    if place.name in ("", "scenes", "scenes-study"):
        raise UserError(f"--out {place.out}: {place.name or 'this'} cannot be a data set's name; choose another")
    plan = arrange(place, options)
    settings = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    listing = place.listing()
    print(f"{place.name}: {place.out}, from {place.source}")
    print(*(f"  {'done':<11} {line}" for line in plan.done), sep="\n")
    manifest = place.finished(settings, listing)
    if manifest is not None:
        print(manifest["summary"], f"  {'ready':<11} checked before, no file has changed since", sep="\n")
        return
    place.begin()
    findings = Findings(allow_subset=options.get("allow_subset", False))
    plan.data.update(plan.check(findings))
    if not findings.problems:
        checksums = {os.path.relpath(path, place.out): sha256(path) for path in findings.sample}
        findings.lines.append(("checksums", f"of {len(checksums)} files, in {place.out / MANIFEST}"))
        command = place.next_command(plan.command, plan.overlay)
        if plan.overlay:
            written = place.write_overlay(plan.data, plan.extra, command, plan.remarks)
            findings.lines.append(("overlay", written))
        findings.lines.append(("next", command))
    print(findings.text())
    if count := sum(map(len, findings.problems.values())):
        raise CannotTrain(
            f"{place.name} cannot be trained on: {count:,} problem{'s' * (count > 1)}, listed above by kind; "
            "mend them in the source and give the same command again"
        )
    place.finish({
        "settings": settings, "subset": findings.subset, "done": plan.done, "counts": findings.counts,
        "published": findings.published, "notes": findings.brief(findings.notes), "summary": findings.text(),
        "checksums": checksums, "listing": listing, "image": findings.image, "data": plan.data,
        "code_version": code_version(),
    })  # fmt: skip
