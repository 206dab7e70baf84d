"""How long the report takes on many records, and how much memory it needs.

COMMAND   python -m benchmarks.report [--records 20000] [--report]
COST      about half a minute, most of it for writing the records
EXPECTED  20,000 records are read, checked and sorted in under 10 s and 1 GiB; with --report also rendered

The records are those of one large study: 20 methods, 11 tasks and 5 seeds as finals, the rest trials of the search for
settings. Some of the files are damaged, one in a thousand of each kind; each must be named with its reason. The
measured command runs in a process of its own, its time with the start of Python.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import carry_out
from engine.catalogue import METHOD, TASKS, Method, Task, family_of
from study.plan import read_plan

ROOT = Path(__file__).resolve().parents[1]
# The later a method, the better its scores: so the ceiling comes last.
STUDIED = sorted((METHOD[id] for id in read_plan("full")["encoders"]), key=lambda m: m.reference == "ceiling")
SEEDS = 5
DAMAGE = {  # kind -> what it does to the text of a record
    "truncated": lambda text: text[: len(text) // 2],
    "of another version": lambda text: text.replace('"version": 3', '"version": 99'),
    "against the schema": lambda text: text.replace('"threads": 1', '"threads": 0'),
    "not finite": lambda text: text.replace('"flops": 71075328', '"flops": NaN'),
}
SCAN = (
    "import sys; from reports.records import scan; records, unused = scan(sys.argv[1]);"
    "print(len(records), 'records used,', len(unused), 'files not used')"
)


def record(task: Task, method: Method, seed: int, lr: float | None) -> dict:
    """A valid record: a final one, or with `lr` a trial at that learning rate."""
    value = 20 + STUDIED.index(method) + 0.1 * seed
    shown = [metric for metric in task.metrics if metric.role not in ("instead", "detail")]
    metrics = {m.name: {"value": value, "unit": m.unit or "%", "direction": m.direction, "primary": k == 0}
               for k, m in enumerate(shown)}  # fmt: skip
    selection = {"metric": "val", "grid": {"lr": [0.001, 0.002], "layer_decay": [0.5, 0.75]}, "trials": [
        {"lr": rate, "layer_decay": decay, "value": value} for rate in (0.001, 0.002) for decay in (0.5, 0.75)],
        "chosen": {"lr": 0.001, "layer_decay": 0.5}}  # fmt: skip
    return {
        "schema": "densebench/result", "version": 3, "status": "ok", "error": None, "task": task.id,
        "protocol": f"scenes-{task.id}-64-study-v1", "dataset": "scenes", "split": "val" if lr else "test",
        "tested_on": "val" if lr else "test", "name": method.id, "source": None, "family": family_of(method.id),
        "scale": "study", "role": "trial" if lr else "final", "method": method.id, "method_name": method.id,
        "captions": None,
        "reference": method.reference is not None, "reference_kind": method.reference, "head": "head", "seed": seed,
        "checkpoint": {"sha256": f"{STUDIED.index(method):064x}", "encoder": {
            "name": "vit_tiny_patch16_224", "kwargs": {"img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 4}}},
        "metrics": metrics, "selection": None if lr else selection,
        "settings": {"lr": lr or 0.001, "layer_decay": 0.5, "iterations": 150, "global_batch": 8, "processes": 1,
                     "precision": "float32", "input_size": [64, 64], "mean": [0.5] * 3, "std": [0.5] * 3,
                     "train_images": 128, "detections": None, "proposals": None, "options": []},
        "budget": {"pretrain_updates": 1000, "pretrain_samples": 64000, "pretrain_scale": "study",
                   "pretrain_data": {"name": "unknown", "samples": None}},
        "cost": {"pretrain_wall_s": 446.7, "pretrain_samples_per_s": 143.27, "finetune_wall_s": 34.13,
                 "finetune_samples_per_s": 35.2, "peak_memory_mib": 516.0, "parameters": 623816, "flops": 71075328},
        "command": f"python tools/train.py {task.id}_{method.id}.py --seed {seed}", "config_hash": "340d9c10",
        "code_version": "0123456789ab", "versions": dict.fromkeys(("python", "torch", "mmengine", "timm"), "1.0"),
        "hardware": {"device": "cpu", "cpu": "some cores", "threads": 1}, "samples": [],
    }  # fmt: skip


def cells(count: int) -> Iterator[tuple[Task, Method, int, float | None]]:
    """`count` cells: every final one, then trials at ever larger learning rates."""
    finals = [(task, method, seed) for task in TASKS for method in STUDIED for seed in range(SEEDS)]
    for k in range(count):
        yield *finals[k % len(finals)], (k // len(finals)) / 1000 or None


def plant(root: Path, count: int) -> dict[str, int]:
    """Write `count` files below `root`, some of them damaged, duplicated or at odds; return how many of each kind."""
    planted = dict.fromkeys([*DAMAGE, "duplicate", "contradiction"], 0)
    kinds = list(planted)
    whole: list[tuple] = []
    for k, cell in enumerate(cells(count)):
        entry = record(*cell)
        folder = root / str(k // 1000) / str(k)
        folder.mkdir(parents=True)
        text = json.dumps(entry)
        kind = kinds[k % 1000] if k >= 1000 and k % 1000 < len(kinds) else None
        if kind in DAMAGE:
            planted[kind] += 1
            text = DAMAGE[kind](text)
        elif kind is not None:  # a cell before it once more, the same or with other values
            entry = record(*whole[-1 if kind == "duplicate" else -2])
            if kind == "contradiction":
                entry["metrics"] = {name: metric | {"value": 1.0} for name, metric in entry["metrics"].items()}
            planted[kind] += 1
            text = json.dumps(entry)
        else:
            whole.append(cell)
        (folder / "result.json").write_text(text)
    return planted


def main() -> None:
    """Plant the records, measure the command, print one line; exit with 1 where it is over its bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20000, help="how many files to write (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="measure the whole command, page and files included")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        planted = plant(Path(folder) / "runs", options.records)
        words = ["-m", "reports", folder + "/runs", "--out", folder + "/report"] if options.report else [
            "-c", SCAN, folder + "/runs"]  # fmt: skip
        started = time.perf_counter()
        finished = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)
        wall = time.perf_counter() - started
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"planted: {', '.join(f'{number} {kind}' for kind, number in planted.items())}")
    print("\n".join(finished.stdout.splitlines()[-3:]))
    memory = spent.ru_maxrss / 1024
    print(
        f"{options.records:,} files: {wall:.1f} s wall, {spent.ru_utime + spent.ru_stime:.1f} s processor, "
        f"{memory:.0f} MiB"
    )
    sys.exit(wall > 10 or memory > 1024)


if __name__ == "__main__":
    carry_out(main)
