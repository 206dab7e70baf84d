"""What a machine has, what each missing part costs its user, and which data sets are ready.

Nothing heavy is imported before it is known to be there, so that this also runs where the set-up has failed.
"""

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UserError
from engine.files import read_object

REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)\s*(?:#\s*(.*))?$")
PYTHON = (3, 11)
ROOM = 5  # GiB for scenes and the runs of a study
RUN = 2  # GiB of memory that a run may take
STAND_INS = {"mmcv-lite": "mmcv", "opencv-python": "opencv-python-headless"}  # another package of the same modules
# Data sets of the published protocols: folder, what reads it, the name that tools/prepare.py knows it by.
PUBLISHED = (
    ("ade20k", "UperNet, SemanticFPN at --scale paper"),
    ("coco", "Mask R-CNN, Cascade at --scale paper"),
    ("nyuv2", "depth at --scale paper"),
    ("imagenet", "pretraining, probes and fine-tuning at --scale paper"),
    ("flickr30k", "retrieval between photographs and captions"),
    ("coco-captions", "the same on COCO"),
    ("camvid", "docs/overlays/camvid.py"),
)


@dataclass(frozen=True)
class Finding:
    """One line: `state` is "ok", "note" (works, at a price) or "missing"; `cost` says what a lack means, or nothing."""

    state: str
    name: str
    text: str
    cost: str = ""


def machine(folder: Path = Path(".")) -> list[Finding]:
    """Python, processor, memory and disk."""
    version, tried = platform.python_version(), ".".join(map(str, PYTHON))
    other = f"all was tried with {tried}: install it, delete .venv, make setup"
    cores = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    jobs = max(1, int(memory // RUN))
    free = shutil.disk_usage(folder).free / 2**30
    return [
        judge(version.startswith(f"{tried}."), "Python", version, other),
        judge(jobs >= cores, "processor", f"{processor()}, {cores} cores, {memory:.0f} GiB memory",
              f"a run takes up to {RUN} GiB: make demo JOBS={jobs}"),
        judge(free >= ROOM, "disk", f"{free:.0f} GiB free here", f"scenes and runs of a study take up to {ROOM} GiB"),
    ]  # fmt: skip


def judge(good: bool, name: str, text: str, cost: str) -> Finding:
    """A line that is fine, or works at a price."""
    return Finding("ok", name, text) if good else Finding("note", name, text, cost)


def processor() -> str:
    """The processor's name, with the vector instructions that decide its speed."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    name = re.search(r"model name\s*:\s*(.*)", text)
    flags = set((re.search(r"^flags\s*:\s*(.*)$", text, re.M) or ["", ""])[1].split())
    wide = next((label for label, flag in (("AMX", "amx_bf16"), ("AVX-512", "avx512f"), ("AVX2", "avx2"))
                 if flag in flags), None)  # fmt: skip
    return (name[1] if name else platform.machine()) + (f", {wide}" if wide else "")


def packages(requirements: Path) -> list[Finding]:
    """Every package of requirements.txt: there, of another version, or missing with what it is for."""
    found, right = [], 0
    lines = [REQUIREMENT.match(line) for line in requirements.read_text().splitlines()]
    for name, wanted, purpose in (match.groups() for match in lines if match):
        installed = version_of(name)
        if installed is None:
            found.append(Finding("missing", name, f"not installed; for: {purpose}" if purpose else "not installed"))
        elif installed.split("+")[0] != wanted:
            found.append(
                Finding("note", name, f"{installed}, tried with {wanted}: results may differ, make test tells")
            )
        else:
            right += 1
    return [Finding("ok", "packages", f"{right} of {right + len(found)} as in requirements.txt"), *found]


def version_of(name: str) -> str | None:
    """The installed version of a package or of one that stands in for it."""
    for candidate in (name, STAND_INS.get(name)):
        try:
            return importlib.metadata.version(candidate) if candidate else None
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


# in this order: compat's mends come after torch and before all that needs them
IMPORTS = ("torch", "compat", "torchvision", "cv2", "mmcv", "mmdet", "mmseg", "timm", "open_clip")


def modules(names: Sequence[str] = IMPORTS) -> list[Finding]:
    """The libraries that may break at import though they are installed."""
    found = []
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever a broken library raises is the finding
            line = (str(error).strip() or type(error).__name__).splitlines()[0]
            mend = "install your system's OpenGL library (libgl1)" if name == "cv2" else "delete .venv, make setup"
            found.append(Finding("missing", name, f"cannot be imported: {line[:80]}", mend))
    return found or [Finding("ok", "imports", ", ".join(name for name in names if name != "compat"))]


def data_sets(root: Path = Path("data")) -> list[Finding]:
    """The embedded scenes and the data sets of the published protocols: ready, unchecked or missing."""
    found = []
    for name, target in (("scenes", "demo"), ("scenes-study", "study")):
        manifest = root / name / "manifest.json"
        if manifest.is_file():
            found.append(scenes_at(name, target, manifest))
        else:
            found.append(Finding("ok", name, f"made on first use by make {target}"))
    for name, reader in PUBLISHED:
        if (root / name / "prepared.json").is_file():
            found.append(Finding("ok", name, reader))
        elif (root / name).is_dir():
            found.append(Finding("note", name, f"{reader}; never checked: python tools/prepare.py {name} FOLDER"))
        else:
            found.append(Finding("missing", name, f"{reader} cannot run"))
    if any(finding.state == "missing" for finding in found):
        found.append(
            Finding("note", "to add one", "python tools/prepare.py KIND FOLDER checks and converts; docs/data.md")
        )
    return found


def scenes_at(name: str, target: str, manifest: Path) -> Finding:
    """What a finished export of the scenes holds."""
    try:
        about = read_object(manifest, f"delete its folder, then make {target} makes it again", counts=dict, size=int)
    except UserError as error:
        return Finding("missing", name, str(error))
    counts = ", ".join(
        f"{count:,} {split}" if isinstance(count, int) else split for split, count in about["counts"].items()
    )
    return Finding("ok", name, f"{about['size']} pixels; {counts}")


def checkpoints(root: Path = Path("runs")) -> list[Finding]:
    """The encoders that fine-tuning would find, by scale."""
    found = []
    for scale in sorted(path.parent.name for path in root.glob("*/pretrain")):
        methods = {path.parents[2].name for path in (root / scale / "pretrain").glob("*/*/checkpoint/checkpoint.json")}
        if methods:
            found.append(Finding("ok", f"{scale} encoders", ", ".join(sorted(methods))))
    return found or [Finding("ok", "encoders", "none yet: make demo, or tools/train.py pretrain/configs/METHOD.py")]


def speed(device: str, dtype: str, seconds: float = 1.0) -> float:
    """Floating point operations per second of the largest product in a block of ViT-B, measured for some `seconds`.

    Args:
        device: such as "cpu". dtype: torch's name of the number format.
    """
    import torch

    tokens, width, hidden = 1024, 768, 3072
    shapes = (tokens, width), (width, hidden)
    a, b = (torch.ones(shape, device=device, dtype=getattr(torch, dtype)) for shape in shapes)
    float((a @ b).sum())  # warm; reading a number waits for the device
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(10):
            product = a @ b
        float(product[0, 0])
        done += 10
    return 2 * tokens * width * hidden * done / (time.perf_counter() - start)
