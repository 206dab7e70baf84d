"""Several processes: one batch under every launcher, one record of the saved weights, none outlives its agent."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from safetensors.torch import load_file

from engine.distributed import die_with_parent, take_environment, world_size_of_launcher
from engine.errors import UserError
from study.configure import load_config
from tests.engine.processes import forked

SLURM = {"SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_LOCALID": "0"}
MPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}


@pytest.fixture
def environment(monkeypatch):
    """`environment(SLURM_NTASKS="8")`: the variables of launchers, and no others of theirs."""
    for name in [name for name in os.environ if name.startswith(("SLURM", "OMPI", "MASTER")) or name in
                 ("WORLD_SIZE", "RANK", "LOCAL_RANK")]:  # fmt: skip
        monkeypatch.delenv(name)
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "gone")  # so that what the code sets is taken back
        monkeypatch.delenv(name)
    return lambda **variables: [monkeypatch.setenv(*pair) for pair in variables.items()]


@pytest.mark.parametrize("launcher, variable", [
    ("pytorch", "WORLD_SIZE"), ("slurm", "SLURM_NTASKS"), ("mpi", "OMPI_COMM_WORLD_SIZE"),
])  # fmt: skip
def test_the_batch_is_shared_under_every_launcher(environment, launcher, variable):
    path, options = "depth/configs/mae.py", {"global_batch_size": 16}
    with pytest.raises(UserError, match=f"--launcher {launcher}: the variable {variable} holds no number"):
        load_config(path, options=options, launcher=launcher)
    hashes = set()
    for processes, share in (("1", 16), ("8", 2)):
        environment(**{variable: processes})
        assert world_size_of_launcher(launcher) == int(processes)
        cfg = load_config(path, options=options, launcher=launcher)
        assert cfg.train_dataloader.batch_size == share
        hashes.add(cfg.config_hash)
    assert len(hashes) == 2, "the hash knows the number of processes"
    environment(**{variable: "3"})
    with pytest.raises(UserError, match="a batch of 16 cannot be shared by 3 processes with 1 passes each"):
        load_config(path, options=options, launcher=launcher)
    assert load_config(path, options=options).train_dataloader.batch_size == 16, "without a launcher it is one process"


@pytest.mark.parametrize("launcher, variables, rank", [
    ("slurm", SLURM | {"SLURM_PROCID": "1"}, "1"),
    ("mpi", MPI | {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}, "1"),
])  # fmt: skip
def test_a_launchers_words_become_torchs(environment, launcher, variables, rank):
    environment(**variables)
    take_environment(launcher)
    found = [os.environ[name] for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR")]
    assert found == ["2", rank, "0", "127.0.0.1"]


def test_processes_end_with_their_agent(tmp_path):
    def agent():
        def rank():
            die_with_parent()
            (tmp_path / "id").write_text(str(os.getpid()))
            time.sleep(60)

        forked(rank)
        time.sleep(60)

    agent = forked(agent)
    while not (tmp_path / "id").exists() or not (tmp_path / "id").read_text():
        time.sleep(0.01)
    rank = int((tmp_path / "id").read_text())
    os.kill(agent, signal.SIGKILL)
    os.waitpid(agent, 0)
    for _ in range(100):
        if is_gone(rank):
            return
        time.sleep(0.02)
    os.kill(rank, signal.SIGKILL)
    raise AssertionError("the rank outlived its agent")


def is_gone(process: int) -> bool:
    """Whether a process has ended, or waits only for someone to read its status."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.mark.slow
def test_two_slurm_tasks_record_what_their_saved_weights_give(configure, in_child, tmp_path):
    """Plain BN: each process has statistics of its own while it trains. Their means of the loss are one curve."""
    from study.configure import settle
    from study.run import ensure_data, run

    assert in_child(lambda: run(configure("pretrain/configs/random.py", 0, tmp_path / "random"), "test")) == 0
    config, checkpoint = "seg_configs/upernet_random.py", str(tmp_path / "random" / "checkpoint")
    cfg = configure(config, 4, tmp_path / "two", checkpoint=checkpoint)
    command = [sys.executable, "tools/train.py", config, "--launcher", "slurm", "--data", str(tmp_path / "small.py"),
               "--work-dir", cfg.work_dir, "--checkpoint", checkpoint, "--cfg-options", "train_cfg.max_iters=4",
               "global_batch_size=4", "progress_interval=2", "optim_wrapper.optimizer.lr=1e-2"]  # fmt: skip
    common = {**os.environ, **SLURM, "MASTER_PORT": free_port(), "OMP_NUM_THREADS": "1"}
    tasks = [subprocess.Popen(command, env={**common, "SLURM_PROCID": str(rank)}, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) for rank in range(2)]  # fmt: skip
    said = [task.communicate(timeout=400) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said[0][1][-2000:] + said[1][1][-2000:]
    record = json.loads((tmp_path / "two" / "result.json").read_text())
    assert (record["settings"]["global_batch"], record["settings"]["processes"]) == (4, 2) and record["settings"][
        "iterations"
    ] == 4

    cfg = configure(config, 4, tmp_path / "again", checkpoint=checkpoint)
    settle(cfg, ensure_data)
    runner = Runner.from_cfg(cfg)
    runner.model.load_state_dict(load_file(tmp_path / "two" / "model.safetensors"))
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmengine")):
        measured = runner.test()
    for name, metric in record["metrics"].items():
        assert metric["value"] == pytest.approx(measured[name], abs=1e-6), name


def test_accumulation_keeps_the_recipe(configure, in_child, tmp_path):
    """Half the batch twice: as many updates, images and steps of the schedule."""
    from study.run import run

    folders = tmp_path / "whole", tmp_path / "halves"
    for folder, passes in zip(folders, (1, 2), strict=True):
        options = {"progress_interval": 1, "state_interval": 1} | ({"accumulation": passes} if passes > 1 else {})
        cfg = configure("pretrain/configs/mae.py", 3, folder, options=options)
        assert cfg.train_dataloader.batch_size == 8 // passes and cfg.train_cfg.max_iters == 3
        assert in_child(lambda cfg=cfg: run(cfg, "test")) == 0
    about = [json.loads((folder / "checkpoint" / "checkpoint.json").read_text()) for folder in folders]
    assert [(meta["updates"], meta["samples_seen"]) for meta in about] == [(3, 24)] * 2
    rates = [[json.loads(line)["lr"] for line in (f / "curve.jsonl").read_text().splitlines()] for f in folders]
    assert rates[0] == rates[1] and len(set(rates[0])) > 1
    state = torch.load(folders[1] / "state" / "00000003.pt", weights_only=True)
    assert {int(entry["step"]) for entry in state["optimizer"]["state"].values()} == {3}


def test_mmengines_own_accumulation_is_refused():
    with pytest.raises(UserError, match="accumulative_counts would change the batch .* say accumulation=N"):
        load_config("depth/configs/mae.py", options={"optim_wrapper.accumulative_counts": 4})
    for passes, said in ((0, "accumulation 0 is no number of passes"), (1.5, "accumulation 1.5 is no number of passes"),
                         ("x", "accumulation is 'x', but a number stands there")):  # fmt: skip
        with pytest.raises(UserError, match=said):
            load_config("depth/configs/mae.py", options={"accumulation": passes})
    with pytest.raises(UserError, match="cannot be shared by the process with 3 passes each"):
        load_config("depth/configs/mae.py", options={"accumulation": 3, "train_dataloader.batch_size": 8})
