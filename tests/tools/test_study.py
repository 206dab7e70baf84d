"""The cells of a study: what runs, in which folder, after what, with which settings."""

import argparse
import shlex
from collections import Counter
from pathlib import Path

import pytest
from mmengine.config import DictAction

from engine.catalogue import TASK
from engine.errors import UserError
from study.cells import IMAGE_TASKS, TRIAL_SEED, TRIAL_SHARE, Cell, choose, points
from study.configure import load_config
from study.encoders import row
from study.plan import read_plan, study_of
from study.scheduler import Scheduler
from study.studies import Study, has_text

GRID = {"lr": (1e-3, 2e-3), "layer_decay": (0.65, 0.9)}
WORDED = {"maskclip", "clip_aligned", "clip", "slip", "declip", "lightclip", "datacompdr", "clip_enriched",
          "clip_mixed", "clip_rewritten"}  # fmt: skip


def trials(finish, task, values):
    cells = [Cell("tiny", task, "mae", 0, point) for point in points(GRID)]
    for cell, value in zip(cells, values, strict=True):
        finish(cell, value)
    return cells


@pytest.mark.parametrize(
    "task, values, best",
    [
        ("upernet", [30, 33, 32, 31], 1),  # mIoU: the larger the better
        ("depth", [0.9, 0.7, 0.6, 0.8], 2),  # RMSE: the smaller the better
        ("upernet", [30, 33, 33, 33], 1),  # the first of equals
        ("depth", [0.7, 0.6, 0.6, 0.8], 1),
        ("upernet", [None, 20, None, 21], 3),
        ("depth", [None, 0.9, 0.8, None], 2),
        ("upernet", [None, None, None, 0], 3),  # zero is a value
    ],
)
def test_choice_of_settings(here, finish, task, values, best):
    chosen = choose(trials(finish, task, values), GRID)
    expected = [dict(lr=lr, layer_decay=decay) for lr in (1e-3, 2e-3) for decay in (0.65, 0.9)]
    assert chosen["chosen"] == expected[best]
    assert chosen["metric"] == ("val rmse" if task == "depth" else "val mIoU")
    assert chosen["grid"] == {"lr": [1e-3, 2e-3], "layer_decay": [0.65, 0.9]}
    assert chosen["trials"] == [e | {"value": v} for e, v in zip(expected, values, strict=True)]


def test_no_trial_to_choose_from(here, finish):
    with pytest.raises(UserError, match="every trial below runs/tiny/trials/upernet/mae failed: see their result.json"):
        choose(trials(finish, "upernet", [None] * 4), GRID)


def counted(cells):
    return Counter("pretrain" if c.task == "pretrain" else "trial" if c.point else "final" for c in cells)


@pytest.mark.parametrize("anew", [False, True])
def test_cells_of_the_whole_study(anew):
    plan = read_plan("study")
    assert plan == read_plan("full") and len(plan["encoders"]) == len({*plan["encoders"]}) == 20
    assert plan["encoders"][:2] == ("random", "oracle"), "a study without floor and ceiling cannot be judged"
    assert {*read_plan("demo")["encoders"]} < {*plan["encoders"]}
    cells = study_of({**plan, "pretrain_anew": anew}).cells()
    methods, tasks, seeds, size = 20, 4, 3, 4
    pretrainings = methods * seeds if anew else methods + seeds - 1  # random initialisation: one for every seed
    rows = methods * tasks
    # both k-NN of each encoder, two tests with texts, four probes that draw
    of_images = 2 * pretrainings + 2 * len(WORDED) * (seeds if anew else 1) + 4 * methods * seeds
    assert counted(cells) == {"pretrain": pretrainings, "trial": rows * size, "final": rows * seeds + of_images}
    assert len({c.folder for c in cells}) == len({c.name for c in cells}) == len(cells), "two runs in one folder"
    first = [c.method for c in cells if c.task != "pretrain" and c.seed == plan["seeds"][0]]
    assert first == sorted(first, key=plan["encoders"].index), "rows are finished one after the other"
    assert [c.seed for c in cells if c.task != "pretrain"] == sorted(c.seed for c in cells if c.task != "pretrain")
    ahead = [
        len({c.method for c in cells[:k] if c.task == "pretrain"}) for k, c in enumerate(cells) if c.task == "depth"
    ]
    assert ahead[0] == 2, "one method's pretraining stands before the cells of the one before it, and no more"

    per_method = Counter((c.method, c.task) for c in cells if c.point)
    assert set(per_method.values()) == {size} and len(per_method) == methods * tasks
    made = {c.outcome: position for position, c in enumerate(cells)}
    for position, cell in enumerate(cells):
        assert all(made[need] < position for need in cell.needs), "a need that comes later, or never"
        if cell.task == "pretrain":
            parent = {"fd": "clip", "wsp": "mae"}.get(cell.method)
            parent = (
                [Path(f"runs/study/pretrain/{parent}/seed{cell.seed}/checkpoint/checkpoint.json")] if parent else []
            )
            assert cell.needs == parent and cell.encoder is None
            continue
        source = cell.seed if not cell.point and (anew or cell.method == "random") else plan["seeds"][0]
        assert cell.encoder == Path(f"runs/study/pretrain/{cell.method}/seed{source}/checkpoint")
        assert cell.needs[0] == cell.encoder / "checkpoint.json"
        if not cell.point:
            own = [c for c in cells if c.point and (c.method, c.task) == (cell.method, cell.task)]
            assert cell.trials == own and cell.needs[1:] == [c.outcome for c in own] and cell.grid == plan["grid"]
            assert len(own) == (0 if cell.task in IMAGE_TASKS else size)
            assert cell.folder == Path(f"runs/study/{cell.task}/{cell.method}/seed{cell.seed}")


@pytest.mark.parametrize("anew", [False, True])
def test_tests_of_images_come_for_the_encoders_and_seeds_where_they_differ(anew):
    plan = read_plan("full")
    cells = study_of({**plan, "tasks": IMAGE_TASKS, "pretrain_anew": anew}).cells()
    for task in IMAGE_TASKS:
        found = {(c.method, c.seed): c.encoder for c in cells if c.task == task}
        methods = WORDED if task in ("zero_shot", "retrieval") else plan["encoders"]
        wanted = {(m, s) for m in methods for s in plan["seeds"]
                  if anew or s == 0 or m == "random" or TASK[task].drawn}  # fmt: skip
        assert {*found} == wanted
        for (method, seed), folder in found.items():
            source = seed if anew or method == "random" else 0
            assert folder == Path(f"runs/study/pretrain/{method}/seed{source}/checkpoint")
    assert len({*(c.encoder for c in cells if c.encoder)}) == len([c for c in cells if c.task == "pretrain"])


def test_the_methods_with_texts_are_those_whose_models_hold_a_text_tower():
    methods = [path.stem for path in Path("pretrain/configs").glob("*.py")]
    pictured = {"random", "oracle", "supervised", "mae", "beit", "cae", "moco_v3", "dino", "fd", "wsp"}
    assert {m for m in methods if not has_text(row(m), "tiny")} == pictured and {*methods} - pictured > WORDED


def test_a_test_of_images_and_its_command_agree(here, checkpoint):
    cell = Study("tiny", ("mae",), ("knn",), (3,), GRID).cells()[-1]
    checkpoint("mae", folder=here / cell.encoder)
    cfg = cell.config()
    assert (cfg.task, cfg.work_dir, cfg.protocol) == ("knn", "runs/tiny/knn/mae/seed3", "scenes-knn-colour-tiny-v1")
    assert cell.command == (
        "python tools/test.py recognition/configs/knn.py --scale tiny --seed 3 "
        "--encoder runs/tiny/pretrain/mae/seed3/checkpoint"
    )
    _, _, path, _, scale, _, seed, _, folder = cell.command.split()
    typed = load_config(path, checkpoint=folder, scale=scale, seed=int(seed))
    assert typed.to_dict() == cfg.to_dict(), "typed by hand, it is the same cell"


def test_cells_of_the_demo():
    cells = study_of(read_plan("demo")).cells()
    assert counted(cells) == {"pretrain": 5, "final": 20 + 6 * 5 + 2 * 2}
    assert {c.folder.parts[:2] for c in cells} == {("runs", "tiny")}
    for method in ("random", "cae"):  # its pass over the images leaves features for the tests that follow
        tasks = [cell.task for cell in cells if cell.method == method and cell.task != "pretrain"]
        assert tasks[0] == "attentive_probe" and {"linear_probe", "knn", "upernet"} < {*tasks}


@pytest.mark.parametrize("methods", [("fd",), ("fd", "clip"), ("clip", "fd", "wsp")])
@pytest.mark.parametrize("anew", [False, True])
def test_a_parent_is_pretrained_first_and_fine_tuned_only_if_chosen(methods, anew):
    seeds = (3, 4)
    cells = Study("tiny", methods, ("depth",), seeds, None, anew).cells()
    pretrained = [(c.method, c.seed) for c in cells if c.task == "pretrain"]
    wanted = {*methods, *({"clip"} if "fd" in methods else ()), *({"mae"} if "wsp" in methods else ())}
    assert sorted(pretrained) == sorted((m, s) for m in wanted for s in (seeds if anew else seeds[:1]))
    made = {cell.outcome: position for position, cell in enumerate(cells)}
    assert all(made[need] < position for position, cell in enumerate(cells) for need in cell.needs)
    for cell in cells:
        if cell.task == "pretrain":
            parent = {"fd": "clip", "wsp": "mae"}.get(cell.method)
            assert cell.needs == ([Path(f"runs/tiny/pretrain/{parent}/seed{cell.seed}/checkpoint/checkpoint.json")]
                                  if parent else [])  # fmt: skip
            if parent:
                assert cell.config().checkpoint == str(cell.needs[0].parent), "what it waits for is what it takes"
    assert {c.method for c in cells if c.task == "depth"} == set(methods)


def test_methods_and_seeds_named_twice_run_once(command, here, monkeypatch):
    monkeypatch.setattr(Scheduler, "run", lambda self: print([c.name for c in self.cells]) or 0)
    monkeypatch.setattr("study.run.ensure_data", lambda cfg: None)  # 8704 scenes that no run of this test looks at
    named = ("--methods", "mae", "mae", "--tasks", "depth", "depth", "--seeds", 1, 1)
    ended = command("study", "demo", *named, cwd=here)
    assert ended.code == 0 and "['pretrain mae seed 1', 'depth mae seed 1']" in ended.out


def test_an_unknown_method_is_refused():
    with pytest.raises(UserError, match="mea is neither a checkpoint folder nor a method; did you mean mae"):
        Study("tiny", ("mae", "mea"), (), (0,), None).cells()


def test_status(here, finish):
    cell, failed, pretraining = (
        Cell("tiny", task, method, 0) for task, method in (("depth", "mae"), ("depth", "clip"), ("pretrain", "mae"))
    )
    assert cell.status() == failed.status() == pretraining.status() == "open"
    finish(cell)
    finish(failed, None)
    finish(pretraining)
    assert (cell.status(), failed.status(), pretraining.status()) == ("ok", "failed", "ok")
    cell.outcome.write_text(cell.outcome.read_text()[:-40])
    with pytest.raises(UserError, match="runs/tiny/depth/mae/seed0/result.json"):
        cell.status()


def test_a_cells_configuration_and_its_command_agree(here, finish):
    """The command in the record, typed by hand, computes what the study computed."""
    cells = Study("tiny", ("mae",), ("depth",), (5,), GRID).cells()
    pretraining, own, final = cells[0], cells[1:-1], cells[-1]
    for cell, value in zip(own, [0.9, 0.5, 0.6, 0.7], strict=True):
        finish(cell, value)
    full = load_config("depth/configs/mae.py").train_cfg.max_iters
    for cell, seed, lr, decay in ((own[2], TRIAL_SEED, 2e-3, 0.65), (final, 5, 1e-3, 0.9)):
        cfg = cell.config()
        optimizer = cfg.optim_wrapper.optimizer
        assert (cfg.seed, optimizer.lr, cfg.optim_wrapper.paramwise_cfg.layer_decay) == (seed, lr, decay)
        assert cfg.train_cfg.max_iters == (round(full * TRIAL_SHARE) if cell.point else full)
        assert cfg.role == ("trial" if cell.point else "final") and cfg.resume and cfg.work_dir == str(cell.folder)
        words = shlex.split(cell.command)
        assert words[:3] == ["python", "tools/train.py", "depth/configs/depth.py"]
        parser = argparse.ArgumentParser()
        for flag, kind in (("--scale", str), ("--seed", int), ("--encoder", str)):
            parser.add_argument(flag, type=kind)
        parser.add_argument("--cfg-options", nargs="+", action=DictAction)
        named = vars(parser.parse_args(words[3:]))
        typed = load_config(words[2], options=named.pop("cfg_options"), **named)
        skipped = ("selection", "config_hash", "work_dir", "resume")
        ours, theirs = ({k: v for k, v in c.to_dict().items() if k not in skipped} for c in (cfg, typed))
        assert ours == theirs
    assert final.config().selection.chosen.to_dict() == {"lr": 1e-3, "layer_decay": 0.9}
    assert pretraining.command == "python tools/train.py pretrain/configs/mae.py --scale tiny --seed 5"


def test_a_run_alone_is_planned_without_the_others(monkeypatch):
    """The same run, by the configurations of its own method alone; only a parent that is no row, and the floor, are
    known from the others."""
    study = Study("tiny", ("maskclip", "fd"), ("depth", "zero_shot"), (0,), {"lr": (1e-3,), "layer_decay": (0.65,)},
                  floor=True, baselines=True)  # fmt: skip
    cells, loaded = study.cells(), []
    monkeypatch.setattr(
        "study.studies.load_config", lambda *words, **more: loaded.append(words) or load_config(*words, **more)
    )
    assert {"random", "clip", "fd", "mean_depth"} < {cell.method for cell in cells}
    told = {cell.method for cell in cells if cell.method.startswith(("random", "clip"))}
    for cell in [cell for cell in cells if cell.method not in told or cell.task == "pretrain"]:
        loaded.clear()
        assert [one for one in study.cells(str(cell.folder)) if one.folder == cell.folder] == [cell]
        most = 99 if cell.method in told else 2  # itself, and fd's parent or whether maskclip reads texts
        assert len(loaded) <= most, cell.name
    assert len(study.cells("runs/tiny/depth/fd/seed7")) == len(cells), "no run of the study: all, to say so"
