"""Whatever `--encoder` takes becomes a checkpoint folder once; study files say which encoders meet on which data."""

import shlex
import shutil
from pathlib import Path

import pytest
import timm
import torch
from mmengine.config import DictAction
from safetensors.torch import save_file

from backbones import load_encoder, read_checkpoint
from engine.errors import UserError
from study.configure import load_config
from study.encoders import checkpoint_of, dotted
from study.plan import complete, read_plan, study_of
from tests.commands import ENCODER

TAG = "test_efficientnet.r160_in1k"
SEG = "data = dict(name={name!r}, kind='seg', root='nowhere', classes=('a', 'b'), size=(32, 48))\n"


@pytest.fixture
def published(here):
    """A file of timm's smallest network, with its classifier, whose layout only its user knows."""
    torch.manual_seed(0)
    save_file(timm.create_model(TAG.split(".")[0]).state_dict(), here / "net.safetensors")
    return "net.safetensors"


def overlays(here, *names):
    for name in names:
        (here / f"{name}.py").write_text(SEG.format(name=name))
    return tuple(f"{name}.py" for name in names)


def test_a_published_file_is_converted_once_and_again_when_it_changes(published, capfd):
    source = f"timm:{TAG}@{published}"
    folder = checkpoint_of(source)
    meta = read_checkpoint(folder)
    assert meta["encoder"]["name"] == "test_efficientnet" and meta["name"] == f"timm:{TAG}"
    assert folder.parts[:2] == ("runs", "encoders") and "converted, once" in capfd.readouterr().err
    written = (folder / "checkpoint.json").stat().st_mtime_ns
    assert checkpoint_of(source) == folder == checkpoint_of(folder)
    assert (folder / "checkpoint.json").stat().st_mtime_ns == written and "converted" not in capfd.readouterr().err
    torch.manual_seed(1)
    save_file(timm.create_model("test_efficientnet").state_dict(), published)
    again = checkpoint_of(source)
    assert again != folder and read_checkpoint(again)["sha256"] != meta["sha256"]
    cfg = load_config("seg_configs/upernet.py", encoder=source)
    assert cfg.checkpoint == str(again) and "timm" in cfg.work_dir
    with pytest.raises(UserError, match="neither a checkpoint folder nor a method; did you mean mae"):
        checkpoint_of("mea")
    with pytest.raises(UserError, match="name one with --format"):
        checkpoint_of(published)
    with pytest.raises(UserError, match=f"{folder.parent} is a run's folder: its checkpoint is {folder}"):
        checkpoint_of(folder.parent)
    for missing in (f"timm:{TAG}@no where.pth", "weights/no where.pth", "no where.pth"):
        with pytest.raises(UserError, match=r"there is no file (weights/)?no where\.pth; correct its path"):
            checkpoint_of(missing)


def test_a_layout_of_several_formats_is_named_before_the_file(here):
    torch.manual_seed(0)
    torch.save(timm.create_model("vit_tiny_patch16_224", depth=1).state_dict(), "mine.pth")
    with pytest.raises(UserError, match="deit, timm share this layout; say which .* or by deit:mine.pth where an enc"):
        checkpoint_of("mine.pth")
    meta = read_checkpoint(checkpoint_of("deit:mine.pth"))
    assert (meta["method"], meta["name"], meta["source"]) == ("supervised", "mine", "mine.pth")


def test_cells_of_encoders_and_overlays(here, checkpoint, published, capfd):
    """Methods, folders and published files by data sets, with random weights of each architecture, apart by folder."""
    folders = [str(checkpoint("mae", folder=here / f"mine{k}")) for k in range(2)]
    plan = complete({
        "encoders": ["mae", *folders, {"encoder": f"timm:{TAG}@{published}", "name": "small net"},
                     {"encoder": "mae", "name": "MAE, slow", "options": {"optim_wrapper": {"optimizer.lr": 1e-4}}}],
        "data": overlays(here, "roads", "rooms"), "tasks": ["upernet"], "seeds": [0, 1], "floor": True,
        "options": {"train_cfg": {"max_iters": 12}},
    }, "mine")  # fmt: skip
    cells = study_of(plan, {folders[0]: "A", folders[1]: "B"}).cells()
    first = [cell for cell in cells if cell.task == "pretrain"]
    finals = [cell for cell in cells if cell.task == "upernet"]
    drawn = [cell for cell in first if cell.method.startswith("random")]
    assert len({cell.folder for cell in cells}) == len(cells) and len({cell.name for cell in cells}) == len(cells)
    assert [cell.method for cell in first if cell not in drawn] == ["mae"], "two rows share one pretraining"
    assert len(drawn) == 2 * 2, "two architectures, two seeds"
    assert len(finals) == (5 + 2) * 2 * 2
    assert {cell.place for cell in finals} == {"tiny-roads", "tiny-rooms"}
    made = {cell.outcome for cell in first}
    assert all(set(cell.needs) <= made for cell in finals)
    own = [cell for cell in finals if cell.label in ("A", "B", "small net")]
    assert len(own) == 12 and all(not cell.needs and (Path(cell.encoder) / "checkpoint.json").is_file() for cell in own)
    slow = next(cell for cell in finals if cell.label == "MAE, slow")
    assert slow.overrides() == {"train_cfg.max_iters": 12, "optim_wrapper.optimizer.lr": 1e-4}
    words = shlex.split(next(cell for cell in own if cell.label == "small net").command)
    assert words[words.index("--name") + 1] == "small net" and words[words.index("--data") + 1] == "roads.py"

    study_of({**plan, "encoders": folders})
    assert f"{folders[1]} has the weights and the name of {folders[0]}, so they are one row" in capfd.readouterr().err

    net = next(cell for cell in drawn if "efficientnet" in cell.method)
    words = shlex.split(net.command)
    parsed = dict(word.split("=", 1) for word in words[words.index("--cfg-options") + 1 :])
    action = DictAction([], "options")
    typed = load_config(words[2], seed=net.seed, options={k: action._parse_iterable(v) for k, v in parsed.items()},
                        name=words[words.index("--name") + 1], work_dir=net.folder)  # fmt: skip
    assert typed.config_hash == net.config().config_hash, "typed by hand, it draws the same"
    from study.run import run

    run(net.config(), net.command)
    encoder, meta, _ = load_encoder(net.folder / "checkpoint")
    theirs = read_checkpoint(checkpoint_of(f"timm:{TAG}@{published}"))
    assert meta["name"] == "random weights (test_efficientnet)" and meta["encoder"] == theirs["encoder"]
    assert meta["image"] == theirs["image"] and meta["method"] == "random"
    assert ENCODER["kwargs"]["embed_dim"] == 96 != encoder.num_features, "nothing of the suite's own is left"


def test_a_key_of_both_spellings_is_refused():
    with pytest.raises(UserError, match=r"a\.b is stated twice"):
        dotted({"a": {"b": 1}, "a.b": 2})


def test_two_budgets_of_one_method(here):
    """Rows of one method whose pretrainings differ: each has its own, under its own name and in its own folder."""
    short, long = ({"encoder": "mae", "name": f"MAE, {n} updates", "pretrain": {"recipe.updates": n}} for n in (5, 9))
    fast = {**long, "name": "MAE, fast", "options": {"optim_wrapper.optimizer.lr": 1e-2}}
    plan = complete({"encoders": ["mae", short, long, fast], "data": overlays(here, "roads"), "tasks": ["upernet"],
                     "seeds": [0, 1], "pretrain_anew": True}, "mine")  # fmt: skip
    cells = study_of(plan).cells()
    first = [cell for cell in cells if cell.task == "pretrain"]
    assert len(first) == 3 * 2 and len({cell.folder for cell in cells}) == len(cells) == 6 + 4 * 2
    made = {str(cell.folder / "checkpoint"): cell for cell in first}
    for cell in cells:
        if cell.task == "upernet":
            updates = made[str(cell.encoder)].config().train_cfg.max_iters
            assert updates == {"MAE, 5 updates": 5, "MAE, 9 updates": 9, "MAE, fast": 9}.get(cell.label, 800)
            assert made[str(cell.encoder)].seed == cell.seed
    with pytest.raises(UserError, match="pretrain: .*nothing reads 'recipe.update'; did you mean updates"):
        study_of({**plan, "encoders": [{**short, "pretrain": {"recipe.update": 5}}]}).cells()
    again = study_of({**plan, "encoders": [{**short, "pretrain": {"recipe": {"updates": 5}}}]}).cells()
    assert {cell.folder for cell in again} < {cell.folder for cell in cells}, "one recipe, one folder"
    words = shlex.split(next(cell for cell in again if cell.task == "pretrain").command)
    assert words[words.index("--work-dir") + 1] == str(next(c.folder for c in again if c.task == "pretrain"))
    with pytest.raises(UserError, match="encoder 'mae' has pretrain and no name"):
        study_of({**plan, "encoders": [{"encoder": "mae", "pretrain": {"recipe.updates": 5}}]})
    masked = {"pretrain": {"model.mask_ratio": 0.5}}
    with pytest.raises(UserError, match="nothing reads 'model.mask_ratio'"):  # of MAE it is right, of CLIP it is not
        study_of({**plan, "encoders": [{"encoder": "clip", "name": "C", **masked}, {**short, **masked}]}).cells()
    with pytest.raises(UserError, match="seed is what --seed says"):
        study_of({**plan, "encoders": [{**short, "pretrain": {"seed": 5}}]}).cells()
    other = {"encoder": "fd", "name": "FD of DINO", "pretrain": {"parent": "dino"}}
    first = [cell for cell in study_of({**plan, "encoders": [other]}).cells() if cell.task == "pretrain"]
    assert {cell.method.partition("-")[0] for cell in first} == {"fd", "dino"}, "its own parent"
    with pytest.raises(UserError, match="is no method of the suite: pretrain tells of those"):
        study_of({**plan, "encoders": [{**short, "encoder": "runs/mine/seed0/checkpoint"}]})


PICTURES = """data = dict(name={name!r}, kind={kind!r}, root={name!r})
model = dict(encoder=dict(kwargs=dict(embed_dim=48, depth=2, num_heads=3)))
"""


def pretraining_overlays(here, **kinds):
    for name, kind in kinds.items():
        (here / f"{name}.py").write_text(PICTURES.format(name=name, kind=kind))
    return [f"{name}.py" for name in kinds]


def test_methods_pretrained_on_data_of_their_own(here):
    """Each on the first overlay that it can learn from, parents too; floors have the overlay's architecture."""
    given = pretraining_overlays(here, photos="image_folder", posts="image_text")
    other = {"encoder": "mae", "name": "MAE, posts", "pretrain_data": "posts.py", "pretrain": {"recipe.updates": 9}}
    plan = complete({"encoders": ["mae", "clip", "fd", "random", other], "data": overlays(here, "roads"), "seeds": [0],
                     "tasks": ["upernet"], "pretrain_data": given, "floor": True}, "mine")  # fmt: skip
    cells = study_of(plan).cells()
    first = {cell.method: cell for cell in cells if cell.task == "pretrain"}
    kinds = sorted((key.partition("-")[0], cell.place) for key, cell in first.items())
    assert kinds == [("clip", "tiny-posts"), ("fd", "tiny-photos"), ("mae", "tiny-photos"), ("mae", "tiny-posts"),
                     *[("random", "tiny")] * 3], "one of the study, and of two architectures of the others"  # fmt: skip
    named = {cell.method.partition("-")[0]: cell for cell in first.values() if cell.place != "tiny"}
    fd, clip = named["fd"], named["clip"]
    assert fd.needs == [clip.outcome] and fd.config().checkpoint == str(clip.folder / "checkpoint")
    assert all(cell.config().model.encoder.kwargs.embed_dim == 48 for cell in named.values())
    widths = {cell.config().model.encoder.kwargs.embed_dim for key, cell in first.items() if "random" in key}
    assert widths == {48, 96}
    made = {str(cell.folder / "checkpoint") for cell in first.values()}
    assert {str(cell.encoder) for cell in cells if cell.task == "upernet"} == made
    assert len({cell.folder for cell in cells}) == len(cells)
    for cell in first.values():
        words = shlex.split(cell.command)
        flags = {
            key: words[words.index(f"--{key}") + 1] for key in ("data", "checkpoint", "name") if f"--{key}" in words
        }
        assert ("data" in flags, "checkpoint" in flags) == (cell.place != "tiny", cell is fd)
        if cell.data:
            options = {"options": {"recipe.updates": 9}} if cell.label else {}
            typed = load_config(words[2], seed=0, work_dir=words[words.index("--work-dir") + 1], **flags, **options)
            assert typed.config_hash == cell.config().config_hash and typed.work_dir == str(cell.folder)
    few = {cell.folder for cell in study_of({**plan, "encoders": ["mae", "random"]}).cells()}
    assert few < {cell.folder for cell in cells}, "a study that grows keeps its runs"
    assert study_of(plan).cells(str(fd.folder)), "a cell alone"


@pytest.mark.parametrize("entry, given, sentence", [
    ("clip", ["photos.py"], "clip learns from data of kind image_text, which none of photos.py is: name another"),
    ("oracle", ["photos.py", "posts.py"], "oracle learns from data of kind dense"),
    ("fd", ["photos.py"], "clip learns from data of kind image_text"),
    ("mae", ["nowhere.py"], "nowhere.py"),
    ({"encoder": "mae", "pretrain_data": "photos.py"}, [], "has pretrain_data and no name"),
    ({"encoder": "random", "name": "R", "pretrain_data": "photos.py"}, [], "learns from no data: leave out"),
    ({"encoder": "runs/a.pth", "pretrain_data": "photos.py"}, [], "is no method of the suite: pretrain_data tells"),
])  # fmt: skip
def test_pretraining_data_that_serve_nobody(here, entry, given, sentence):
    pretraining_overlays(here, photos="image_folder", posts="image_text")
    plan = complete({"encoders": [entry], "data": overlays(here, "roads"), "pretrain_data": given}, "mine")
    with pytest.raises(UserError, match=sentence):
        study_of(plan).cells()


def test_a_pretraining_of_its_own_for_each_seed(here, checkpoint):
    for seed in range(3):
        checkpoint("mae", folder=here / f"mine/seed{seed}/checkpoint", seed=seed)
    entry = {"encoder": "mine/seed{seed}/checkpoint", "name": "mine"}
    plan = complete({"encoders": [entry], "data": overlays(here, "roads"), "tasks": ["upernet", "knn_seg"],
                     "seeds": [1, 2]}, "mine")  # fmt: skip
    cells = study_of(plan).cells()
    assert len({cell.method for cell in cells}) == 1, "one row"
    found = sorted((cell.task, cell.seed, str(cell.encoder)) for cell in cells)
    assert found == [(task, seed, f"mine/seed{seed}/checkpoint") for task in ("knn_seg", "upernet") for seed in (1, 2)]
    more = study_of({**plan, "seeds": [1, 2, 0]}).cells()
    assert {cell.folder for cell in cells} < {cell.folder for cell in more}, "finished runs stay"
    with pytest.raises(UserError, match="seed3/checkpoint"):
        study_of({**plan, "seeds": [0, 3]})
    shutil.copytree("mine/seed0", "mine/seed4")
    with pytest.raises(UserError, match="seed4/checkpoint holds the weights of mine/seed0/checkpoint: give each seed"):
        study_of({**plan, "seeds": [0, 4]})
    checkpoint("cae", folder=here / "mine/seed5/checkpoint")
    with pytest.raises(UserError, match="has method 'cae', mine/seed0/checkpoint has 'mae': the seeds of one row"):
        study_of({**plan, "seeds": [0, 5]})


@pytest.mark.parametrize("text, sentence", [
    ("encoders = ('mae',)\nseed = (0,)", "nothing reads 'seed'; did you mean seeds"),
    ("seeds = (0,)", "names no encoders"),
    ("encoders = ('mae',)\nseeds = 3", "seeds is 3: write a list of whole numbers"),
    ("encoders = ('mae',)\ngrid = dict(lr=(1e-3,))", "grid is .*: write dict"),
    ("encoders = ('mae',)\ngrid = dict(lr=(10**400,), layer_decay=(0.5,))", "grid is .*: write dict"),
    ("encoders = ('mae', dict(name='x'))", "encoders holds .*: write what --encoder takes"),
    ("encoders = (dict(encoder='mae', nam='x'),)", "nothing reads 'nam'; did you mean name"),
    ("encoders = ('mae',)\ntasks = ('upernt',)", "unknown task 'upernt'; did you mean upernet"),
    ("encoders = ('mae',)\ndata = ('roads.py',)\ntasks = ('depth',)", "depth needs data of kind 'depth'"),
    ("encoders = ('mae',)\ndata = ('roads.py', 'roads.py', './roads.py')", "two overlays have data 'roads'"),
])  # fmt: skip
def test_study_files_with_faults(here, text, sentence):
    overlays(here, "roads")
    Path("mine.py").write_text(text)
    with pytest.raises(UserError, match=sentence):
        study_of(read_plan("mine.py")).cells()


def test_a_study_that_is_none_and_a_name_for_nobody(here):
    named = "demo, full, light, mine, photographs, real, scenes"
    with pytest.raises(UserError, match=f"neither a study file nor one of {named}; did you mean demo"):
        read_plan("demu")
    with pytest.raises(UserError, match="--name speaks of 'mea', which is none of the encoders; did you mean mae"):
        study_of(complete({"encoders": ["mae"]}, "words"), {"mea": "x"})


def test_a_config_of_the_checkout_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        load_config("seg_configs/upernet_beit.py").run_name
        == load_config("seg_configs/upernet.py", encoder="beit").run_name
    )
    with pytest.raises(UserError, match="there is no config mine/upernet.py"):
        load_config("mine/upernet.py")
