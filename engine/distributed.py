"""Several processes: how many there are, joining their group before anything is written, and what they must share."""

import ctypes
import os
import signal

import torch
from mmengine.config import Config
from mmengine.dist import barrier, broadcast, get_world_size, init_dist, is_distributed

from engine.errors import UserError

# What each launcher tells its processes: their number, this one's rank, its rank on this machine; and its command.
LAUNCHERS = {
    "pytorch": ("WORLD_SIZE", "RANK", "LOCAL_RANK", "torchrun"),
    "slurm": ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "srun"),
    "mpi": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "Open MPI's mpirun"),
}
ONE_MACHINE = {"slurm": ("SLURM_NNODES", "1"), "mpi": ("OMPI_COMM_WORLD_LOCAL_SIZE", None)}  # None: all processes
PORT = "29500"  # torch's default, for whoever does not set MASTER_PORT


def world_size_of_launcher(launcher: str) -> int:
    """How many processes `launcher` ("none", "pytorch", "slurm" or "mpi") started, known before they have met.

    Raises:
        UserError: this process was not started by that launcher.
    """
    if launcher == "none":
        return 1
    variable, *_, command = LAUNCHERS[launcher]
    if not os.environ.get(variable, "").isdigit():
        raise UserError(
            f"--launcher {launcher}: the variable {variable} holds no number, so this process was not started by "
            f"{command}: start it so, or leave --launcher out"
        )
    return int(os.environ[variable])


def set_up_processes(cfg: Config) -> None:
    """Join the process group that the launcher made; nothing to do for a single process.

    Without a GPU the group talks over gloo and the model is wrapped without device ids; mmengine's own set-up would
    assign each process a CUDA device.

    Raises:
        UserError: see `world_size_of_launcher`; synchronised BN without GPUs; a group without the address of its first
            process.
    """
    if cfg.launcher == "none" or is_distributed():
        return
    die_with_parent()
    take_environment(cfg.launcher)
    if torch.cuda.is_available():
        init_dist(cfg.launcher, **cfg.env_cfg.get("dist_cfg", {"backend": "nccl"}))
    else:
        if cfg.get("sync_bn"):
            raise UserError(f"sync_bn={cfg.sync_bn} synchronises BN between GPUs, and torch sees none: leave it out")
        if "MASTER_ADDR" not in os.environ:
            raise UserError("the processes do not know each other: set MASTER_ADDR to the machine of the first of them")
        torch.distributed.init_process_group("gloo")
        cfg.model_wrapper_cfg = dict(type="MMDistributedDataParallel", device_ids=None, broadcast_buffers=False)
    barrier()


def take_environment(launcher: str) -> None:
    """Say in torch's variables what the launcher said in its own; mmengine reads LOCAL_RANK under all launchers."""
    total = str(world_size_of_launcher(launcher))
    variables = LAUNCHERS[launcher][:3]
    if lacking := [name for name in variables if name not in os.environ]:
        raise UserError(f"--launcher {launcher}: {lacking[0]} is not set; start by {LAUNCHERS[launcher][3]}")
    os.environ.update(zip(("WORLD_SIZE", "RANK", "LOCAL_RANK"), map(os.environ.__getitem__, variables), strict=True))
    os.environ.setdefault("MASTER_PORT", PORT)
    name, alone = ONE_MACHINE.get(launcher, ("", ""))
    if name and os.environ.get(name) == (alone or total):
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")


def die_with_parent() -> None:
    """Have Linux end this process with the one that started it: an orphan would write beside its successor."""
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def share_buffers(model: torch.nn.Module) -> None:
    """Give every process the buffers of the first, whose weights are saved: BN's statistics differ between them."""
    if get_world_size() > 1:
        for buffer in model.buffers():
            broadcast(buffer)
