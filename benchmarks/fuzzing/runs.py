"""Kinds that a run leaves: records and what lies beside them, and what it resumes from."""

import gzip
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from backbones.ledger import Ledger, read_ledger
from benchmarks.fuzzing.data import pixels
from benchmarks.fuzzing.formats import encode
from benchmarks.fuzzing.kinds import Files, Kind, command
from benchmarks.report import STUDIED, record
from engine.catalogue import TASKS
from engine.errors import UserError
from engine.files import SEAL, sealed
from engine.progress import kept_rows
from engine.resume import FIELDS, newest_state
from engine.run_folder import read_run
from reports.analyses import SCHEMA as ANALYSIS
from reports.corpora import SCHEMA as CORPUS
from reports.corpora import SUFFIX
from reports.records import scan


def reseal(content: bytes) -> bytes:
    """A JSON object with a checksum that fits, where it is one and has one."""
    try:
        document = json.loads(content)
        return json.dumps(sealed(document)).encode() if isinstance(document, dict) and SEAL in document else content
    except (ValueError, RecursionError):
        return content


def seal_json(files: Files) -> None:
    """Renew the checksums that JSON files hold of themselves."""
    files |= {name: reseal(content) for name, content in files.items() if name.endswith(".json")}


def records() -> Kind:
    """Records of a few runs with pictures, curves and an analysis, of which one file is damaged."""
    picture = encode(pixels(1))
    found: Files = {}
    for task in TASKS[:1]:
        for method in STUDIED[:2]:
            folder, document = f"runs/{task.id}/{method.id}", record(task, method, 0, None)
            document["samples"] = [{"image": "a.png", "truth": "b.png", "prediction": "c.png"}]
            found[f"{folder}/result.json"] = json.dumps(sealed(document)).encode()
            found |= {f"{folder}/{name}.png": picture for name in "abc"}
            rows = [{"iteration": k, "loss": 1 / k, "lr": 0.1} for k in (1, 2, 3)]
            found[f"{folder}/curve.jsonl"] = "\n".join(map(json.dumps, rows)).encode()
    found["runs/analysis/analysis.json"] = json.dumps({
        "schema": ANALYSIS, "version": 1, "name": "latency", "title": "Latency", "checkpoints": [], "settings": {},
        "scalars": {"ms": {"value": 1.0, "unit": "ms", "about": "a pass"}}, "values": {}, "figure": "figure.svg",
        "words": "words", "command": "c", "code_version": "0", "versions": {}, "hardware": {},
    }).encode()  # fmt: skip
    found["runs/analysis/figure.svg"] = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    found["report/.densebench-report.json"] = json.dumps(
        {"schema": "densebench/report", "version": 1, "files": {"old.csv": "0" * 64}}
    ).encode()
    return Kind([found], read_records, seal_json, share=1)


def read_records(folder: Path) -> str | None:
    """Write the whole report; every record is used, or named with a reason."""
    command("report", folder / "runs", "--out", folder / "report")
    used, unused = scan(folder / "runs")
    named = {one.path for one in (*used, *unused)}
    lost = [
        path
        for path in (folder / "runs").rglob("result.json")
        if path.relative_to(folder / "runs").as_posix() not in named
    ]
    return f"{lost[0]} is neither used nor named" if lost else None


def corpora() -> Kind:
    """A corpus, damaged in its lines before it is compressed, or after."""
    head = {"schema": CORPUS, "version": 1, "records": 2, "code": []}
    lines = [{"path": f"{method.id}/result.json", "curve": [{"iteration": 1, "loss": 0.5}],
              "record": sealed(record(TASKS[0], method, 0, None))} for method in STUDIED[:2]]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in (head, *lines)).encode()
    return Kind([{"study.jsonl": text}, {f"study{SUFFIX}": gzip.compress(text)}], read_a_corpus, share=1)


def read_a_corpus(folder: Path) -> None:
    """Write its report."""
    packed = folder / f"study{SUFFIX}"
    if not packed.exists():
        packed.write_bytes(gzip.compress((folder / "study.jsonl").read_bytes()))
    command("report", packed, "--out", folder / "report")


def saved(content: Any) -> bytes:
    """A file of torch.save."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def manifest(state: bytes) -> bytes:
    """What vouches for a state."""
    return json.dumps({"schema": "densebench/state", "version": 1, "sha256": digest(state)}).encode()


def digest(content: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(content).hexdigest()


def runs() -> Kind:
    """A run's own files: run.json, states with their manifests, the curve, the ledger."""
    state = {name: {} for name in FIELDS} | {"iteration": 4, "config_hash": "a", "wall_s": 1.0, "schedulers": []}
    state["optimizer"] = {"state": {0: {"exp_avg": torch.ones(3, 2)}}, "param_groups": []}
    state["model"] = {"weight": torch.ones(3, 2), "count": torch.tensor(3)}
    ledger = Ledger(("a",), {"b": "c"}, {"d": ((1, 2), (3, 4))}, {"e": "f"}, {"g": "h"})
    files = {
        "run.json": json.dumps(sealed({
            "schema": "densebench/run", "version": 1, "task": "upernet", "method": "mae", "scale": "tiny", "seed": 0,
            "command": "c", "code_version": "0", "config_hash": "a" * 64, "config": {"a.b": 1, "c": [1, 2]},
        })).encode(),
        "curve.jsonl": b"".join(json.dumps({"iteration": k, "loss": 1.0}).encode() + b"\n" for k in range(1, 5)),
        "ledger.json": json.dumps(ledger.document()).encode(),
    }  # fmt: skip
    for k in (2, 4):
        files[f"state/{k:08d}.pt"] = content = saved({**state, "iteration": k})
        files[f"state/{k:08d}.json"] = manifest(content)
    return Kind([files], read_a_run, seal_run)


def seal_run(files: Files) -> None:
    """Renew what the files of a run hold of each other."""
    seal_json(files)
    files |= {
        name.replace(".pt", ".json"): manifest(content) for name, content in files.items() if name.endswith(".pt")
    }


def read_a_run(folder: Path) -> str | None:
    """What `--resume` reads. A damaged newest state gives way to the one before it."""
    faults = []
    for look in (
        lambda: read_run(folder),
        lambda: read_ledger(folder / "ledger.json"),
        lambda: newest_state(folder / "state"),
    ):
        try:
            look()
        except UserError as error:
            faults.append(error)
    kept_rows(folder / "curve.jsonl", 4, None)
    if faults:
        raise faults[0]
    return None


def kinds() -> Iterator[tuple[str, Kind]]:
    """Name -> kind of all of them."""
    for make in (records, corpora, runs):
        yield make.__name__, make()
