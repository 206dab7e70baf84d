"""Where a number comes from: code version, library versions, hardware, memory."""

import hashlib
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

REPOSITORY = Path(__file__).resolve().parent.parent


def command_line() -> str:
    """This process's command as one types it in the checkout: paths within that are relative to it."""
    return shlex.join(["python", *(word.replace(f"{REPOSITORY}{os.sep}", "") for word in sys.argv)])


LIBRARIES = ("torch", "mmengine", "mmcv", "mmcv-lite", "mmdet", "mmsegmentation", "timm", "open_clip_torch", "numpy")


@cache
def code_version() -> str:
    """The commit of this checkout, with "+changes" where files differ from it; "unknown" outside git."""
    git = ["git", "-C", str(REPOSITORY)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a result; absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def hardware() -> dict[str, Any]:
    """The device that trained, the processor and the threads torch used."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"device": device, "cpu": f"{model}, {os.cpu_count()} cores", "threads": torch.get_num_threads()}


def peak_memory_mib() -> float:
    """Peak memory of this process in MiB: the device's allocator on a GPU, the resident set on a CPU."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)  # Linux counts KiB


def digest(value: Any) -> str:
    """SHA-256 of a JSON-like value with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
