"""Studies on a cluster: what waits for what, and, where a SLURM can be started, a study in trouble on a real one."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import UserError
from study import slurm
from study.slurm import Resources, Slurm
from study.slurm_job import CellJob
from study.studies import Study
from tests.commands import ROOT
from tests.slurm import ask, lacking, one_node
from tests.study import small_study

GRID = {"lr": (1e-3, 2e-3), "layer_decay": (0.65,)}
INSTALLED = importlib.util.find_spec("submitit") is not None


@pytest.fixture
def cluster(here, monkeypatch):
    """A queue in which jobs wait: `arrays` holds what was submitted, (folders, dependency)."""
    arrays: list[tuple[list[str], str]] = []
    waiting: dict[str, str] = {}

    def submit(self, folders, after):
        number = f"{100 + len(arrays)}"
        arrays.append(([*folders], after))
        ids = {folder: f"{number}_{k}" if len(folders) > 1 else number for k, folder in enumerate(folders)}
        waiting.update(dict.fromkeys(ids.values(), "PENDING"))
        return ids

    monkeypatch.setattr(Slurm, "submit", submit)
    monkeypatch.setattr(slurm, "queue", lambda: waiting)
    return arrays, waiting


def study(methods=("mae", "wsp"), tasks=("depth", "knn")):
    return Study("tiny", methods, tasks, (0,), GRID).cells()


def test_every_cell_waits_for_what_it_needs(cluster):
    arrays, _ = cluster
    cells = study()
    jobs = Slurm(Resources(), [], None, data_ready=True).begin(cells)
    assert [job.cell for job in jobs] == cells
    named = {cell.folder: cell.name for cell in cells}
    found = {tuple(named[Path(folder)] for folder in folders): after for folders, after in arrays}
    mae, wsp = (tuple(f"trial depth {method} lr {lr} layer_decay 0.65" for lr in (0.001, 0.002))
                for method in ("mae", "wsp"))  # fmt: skip
    assert found == {
        ("pretrain mae seed 0",): "",
        ("pretrain wsp seed 0", *mae, "knn mae seed 0"): "afterok:100",
        (*wsp, "knn wsp seed 0"): "afterok:101_0",
        ("depth mae seed 0",): "afterok:100,afterany:" + ":".join(number(jobs, name) for name in mae),
        ("depth wsp seed 0",): "afterok:101_0,afterany:" + ":".join(number(jobs, name) for name in wsp),
    }


def number(jobs, name):
    return next(job.handle for job in jobs if job.cell.name == name)


def test_with_a_limit_one_stage_waits_for_all_before(cluster):
    arrays, _ = cluster
    Slurm(Resources(), [], 2, data_ready=False).begin(study(("mae", "clip")))
    assert [(len(folders), after) for folders, after in arrays] == [
        (1, ""), (2, "afterany:100"), (6, "afterany:100:101"), (2, "afterany:100:101:102")]  # fmt: skip
    assert arrays[0][0] == ["data"]


def test_what_is_in_the_queue_is_not_submitted_again(cluster, finish):
    arrays, waiting = cluster
    cells = study(("mae",))
    Slurm(Resources(), [], None, data_ready=False).begin(cells)
    assert arrays[:2] == [(["data"], ""), ([str(cells[0].folder)], "afterok:100")]
    kept = dict(waiting)
    for gone in ("100", "101"):  # done, and the first trial was killed
        del waiting[gone]
    finish(cells[0])
    trial = cells[1]
    killed = json.loads(Path("runs/slurm/jobs.json").read_text())[str(trial.folder)]
    del waiting[killed], arrays[:]
    jobs = Slurm(Resources(), [], None, data_ready=True).begin(cells[1:])
    assert arrays == [([str(trial.folder)], "")], "its pretraining is there"
    assert {job.handle for job in jobs} == {*waiting} <= {*kept, "100"}


def test_how_jobs_that_left_the_queue_ended(cluster, finish, monkeypatch):
    _, waiting = cluster
    cells = study(("mae",))
    executor = Slurm(Resources(), [], None, data_ready=True)
    jobs = executor.begin(cells)
    waiting[jobs[0].handle] = "RUNNING"
    executor.look(jobs)
    assert [job.state for job in jobs] == ["running", *["queued"] * (len(jobs) - 1)]
    waiting.clear()
    finish(cells[0])
    finish(cells[1], None)
    executor.look(jobs)
    assert [job.state for job in jobs[:3]] == ["ok", "failed", "queued"], "a record may still be on its way"
    executor.look(jobs)
    assert [job.state for job in jobs[2:]] == ["failed", "missed", "failed"], "what had all it needs has failed"

    def away():
        raise UserError("squeue failed: no controller")

    monkeypatch.setattr(slurm, "queue", away)
    executor.look(jobs)


def test_resources_in_submitits_words():
    asked = Resources.of({"partition": "a100", "memory": 64, "sbatch": {"qos": "low"}}, {"memory": 32, "gpus": 0,
                                                                                         "time": None})  # fmt: skip
    words = asked.parameters()
    assert (words["slurm_partition"], words["mem_gb"], words["timeout_min"]) == ("a100", 32, 1440)
    assert "gpus_per_node" not in words and asked.sbatch == {"qos": "low"}
    assert Resources().parameters()["gpus_per_node"] == 1
    assert Resources(time=2).parameters()["slurm_signal_delay_s"] == 30
    with pytest.raises(
        UserError, match="section cluster has 'partitions', which nothing reads; did you mean partition"
    ):
        Resources.of({"partitions": "a100"}, {})


@pytest.mark.parametrize("status, noted, ended", [(0, False, 0), (3, False, 3), (75, True, "back"), (75, False, 75),
                                                  (3, True, 3)])  # fmt: skip
def test_only_a_stop_with_notice_goes_back_into_the_queue(tmp_path, status, noted, ended):
    """A job cancelled by SIGTERM, and one that failed in spite of the notice, do not come back."""
    notice = f"os.kill(os.getppid(), {int(signal.SIGUSR1)}); time.sleep(0.2);" if noted else ""
    job = CellJob(["-c", f"import os, sys, time; {notice} print('said'); sys.exit({status})"], str(tmp_path), [], 0.1)

    def put_back(number, frame):
        sys.exit("back")

    before = signal.signal(signal.SIGUSR1, put_back)
    try:
        with pytest.raises(SystemExit) as end:
            job()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert end.value.code == ended and (tmp_path / "log.txt").read_text() == "said\n"


def test_a_job_without_what_it_needs_says_so(tmp_path):
    with pytest.raises(SystemExit):
        CellJob(["-c", "open('ran', 'w')"], str(tmp_path / "cell"), [str(tmp_path / "need")], 0.05)()
    assert "need is not there: the run that makes it has failed" in (tmp_path / "cell" / "log.txt").read_text()


def test_a_machine_without_slurm_or_submitit_is_one_sentence(command, monkeypatch, here):
    monkeypatch.setenv("PATH", "")
    said = command("study", "demo", "--executor", "slurm", "--methods", "mae", "--tasks", "depth", cwd=here).refusal()
    assert "there is no squeue here; give the command on a machine of the cluster" in said
    said = command("study", "demo", "--gpus", "0", "--methods", "mae", "--tasks", "depth", cwd=here).refusal()
    assert "--gpus is for jobs of a cluster: add --executor slurm" in said
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match="needs submitit: pip install -r requirements-cluster.txt"):
        slurm.submission_library()


@pytest.mark.skipif(bool(lacking()) or not INSTALLED, reason=f"no SLURM here: {lacking() or 'submitit'} is missing")
def test_a_study_in_trouble_on_slurm_has_the_records_of_one_that_had_none(overlay, elsewhere, tmp_path, in_child):
    """One run fails, one is told that its time is up, one is killed: the same study, given again, ends as locally."""
    overlays = {path: str(overlay(path)) for path in ("pretrain/configs/mae.py", "depth/configs/depth.py")}
    (tmp_path / "overlays.json").write_text(json.dumps(overlays))
    there = tmp_path / "there"
    subprocess.run(["cp", "-a", elsewhere, there], check=True)

    def run(folder: Path, *words: str, **variables: str) -> tuple[int, str]:
        said = tmp_path / "said"

        def body() -> None:
            os.chdir(folder)
            os.environ.update(variables, OMP_NUM_THREADS="1")
            sys.argv = [str(ROOT / "tests/study/small_study.py"), str(tmp_path / "overlays.json"), *words]
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            sys.stdout = os.fdopen(1, "w", buffering=1)
            os._exit(small_study.main(sys.argv[1:]))

        return in_child(body), said.read_text()

    assert run(elsewhere, "--jobs", "2")[0] == 1
    with one_node(tmp_path / "slurm") as reach:
        code, said = run(there, "--executor", "slurm", "--detach", "--memory", "1", **reach)
        assert code == 0 and "4 jobs submitted, 0 were in the queue before" in said
        assert "gres:gpu:1" in ask(reach, "squeue", "--noheader", "--format", "%b")
        code, said = run(there, "--executor", "slurm", "--memory", "1", **reach)
        assert code == 1 and "0 jobs submitted, 4 were in the queue before" in said
        assert "depth mae seed 0: FAILED after" in said and "pretrain mae seed 0: done" in said
        assert "trial depth mae lr 1e+30 layer_decay 0.65: FAILED after" in said
        log = (there / "runs/tiny/pretrain/mae/seed0/log.txt").read_text()
        assert "SIGUSR1: stopped after iteration 3" in log and "resuming pretrain mae seed 0 after iteration 3" in log
        assert not (there / "runs/tiny/depth/mae/seed0/result.json").exists(), "it was killed"
        code, said = run(there, "--executor", "slurm", "--memory", "1", **reach)
        assert code == 1 and "depth mae seed 0: done" in said, "the failed trial fails again, which is reported"
    same = [path.relative_to(elsewhere) for path in (elsewhere / "runs").rglob("result.json")]
    assert len(same) == 3
    for path in same:
        ours, theirs = (  # an error names the whole path of its run
            json.loads((folder / path).read_text().replace(str(folder), "")) for folder in (there, elsewhere)
        )
        assert all(ours[key] == theirs[key] for key in theirs if key not in ("cost", "content_sha256")), path
        assert ours.keys() == theirs.keys()
