"""A real SLURM of one machine, for tests: Debian's slurm-wlm and munge, started in a folder of its own within seconds.

    python tests/slurm.py FOLDER     starts one, prints how to reach it, ends it at Ctrl-C or SIGTERM

It needs root, no systemd and no cgroups. Its node has two more cores than this machine and two GPUs that are files.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=10
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=2000 Gres=gpu:2 State=UNKNOWN
PartitionName=short Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str | None:
    """What a test of SLURM cannot do without; None where all is there."""
    if os.getuid():
        return "root"
    return next((name for name in PROGRAMS if shutil.which(name, path=SEARCHED) is None), None)


@contextlib.contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """Start a SLURM below `folder`; yields the variables that its commands need. Ends it and its jobs afterwards."""
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        (folder / f"gpu{number}").touch()
    text = CONF.format(host=host, folder=folder, ports=free_ports(), cores=2 + (os.cpu_count() or 1))
    (folder / "slurm.conf").write_text(text.lstrip())
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-1]\n")
    (folder / "munge" / "key").write_bytes(os.urandom(1024))
    (folder / "munge" / "key").chmod(0o400)
    variables = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": SEARCHED}
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = [f"--{option}={folder}/munge/{file}" for option, file in files.items()]
    daemons = []

    def start(*words: str) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        daemons.append(subprocess.Popen(words, env={**os.environ, **variables}, **quiet))

    try:
        start("munged", "--foreground", "--force", *munge)
        until((folder / "munge" / "socket").exists, "munged")
        start("slurmctld", "-D", "-c")
        start("slurmd", "-D", "-c")
        until(lambda: "idle" in ask(variables, "sinfo", "--noheader", "--format", "%T"), f"the node ({folder})")
        yield variables
    finally:
        ask(variables, "scancel", "--me", "--signal=KILL", "--full")
        ask(variables, "scancel", "--me")
        with contextlib.suppress(TimeoutError):
            until(lambda: not ask(variables, "squeue", "--noheader"), "the jobs")
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(30)


def ask(variables: dict[str, str], *words: str) -> str:
    """What a command of SLURM prints; empty where it fails."""
    environment = {**os.environ, **variables}
    return subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def until(holds, what: str, seconds: float = 60.0) -> None:
    """Wait until something holds; TimeoutError naming it otherwise."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.1)


def free_ports() -> list[int]:
    """Two ports that nobody listens on."""
    with socket.socket() as one, socket.socket() as two:
        for found in (one, two):
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in (one, two)]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with one_node(Path(sys.argv[1]).absolute()) as reach, contextlib.suppress(KeyboardInterrupt):
        print("\n".join(f"export {name}={value}" for name, value in reach.items()), flush=True)
        time.sleep(1e9)
