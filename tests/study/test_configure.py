"""Configuration layers and the sentences for what is wrong."""

import math
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config

import pretrain  # noqa: F401  registers the methods
from engine.config import DATA, ENCODER, LAST, Trace, settled
from engine.errors import UserError
from engine.run_folder import flatten
from study.configure import load_config

ROOMS = ("seg_configs", "det_configs", "depth/configs")
HEADS = ("seg_configs/upernet", "seg_configs/semantic_fpn", "det_configs/mask_rcnn", "det_configs/cascade_mask_rcnn",
         "depth/configs/depth")  # fmt: skip
DOWNSTREAM = [p for room in ROOMS for p in sorted(Path(room).glob("*.py"))]
PRETRAINING = sorted(Path("pretrain/configs").glob("*.py"))


@pytest.mark.parametrize("path", DOWNSTREAM + PRETRAINING, ids=str)
@pytest.mark.parametrize("scale", ["tiny", "study"])
def test_every_config_loads_whole(path, scale):
    head = str(path.with_suffix("")) in HEADS
    cfg = load_config(path, scale=scale, seed=3, encoder="beit" if head else None)
    text = path.read_text()
    assert all(word in text for word in ("COMMAND", "COST", "EXPECTED")), "the header must state them"
    assert f"python tools/train.py {path}" in text
    assert head or len(text.splitlines()) <= 45
    assert cfg.method == "beit" if head else cfg.method in path.stem, "file name and method disagree"
    assert all(s.end == cfg.train_cfg.max_iters for s in cfg.param_scheduler[-1:])
    assert cfg.randomness.seed == 3
    if cfg.task != "pretrain":
        assert cfg.checkpoint == f"runs/{scale}/pretrain/{cfg.method}/seed3/checkpoint"
        assert cfg.protocol == f"scenes-{cfg.task.replace('_', '-')}-64-{scale}-v1"
        assert sum(m.get("primary", False) for m in cfg.metrics.values()) == 1


@pytest.mark.parametrize("head", HEADS)
def test_one_file_serves_all_methods(head):
    """By --encoder, by the name of a pair that has no file, and where it has one by that file."""
    path = Path(f"{head}.py")
    name = "beit.py" if head.startswith("depth") else f"{path.stem}_beit.py"
    named, old = load_config(path, encoder="beit"), load_config(path.with_name(name))
    assert not path.with_name(name).exists() and named.to_dict() == old.to_dict()
    assert named.work_dir == f"runs/tiny/{path.stem}/beit/seed0"
    pair = path.with_name(name.replace("beit", "mae"))
    assert pair.is_file() and load_config(path, encoder="mae").to_dict() == load_config(pair).to_dict()


def test_an_encoder_is_a_method_or_a_folder(checkpoint):
    mae_checkpoint = checkpoint("mae")
    by_folder = load_config(HEADS[0] + ".py", encoder=mae_checkpoint)
    assert (by_folder.method, by_folder.checkpoint) == ("mae", str(mae_checkpoint))
    assert by_folder.work_dir.startswith("runs/tiny/upernet/mae/seed0-"), "not the method's own checkpoint"
    for arguments, sentence in (
        (dict(path=HEADS[0] + ".py"), "serves the encoders of all methods: name one with --encoder NAME or FOLDER"),
        (dict(path=HEADS[0] + ".py", encoder="mea"), "neither a checkpoint folder nor a method; did you mean mae"),
        (dict(path=HEADS[0] + "_mae.py", encoder="clip"), "is for mae: give the head's own file --encoder clip"),
        (dict(path="pretrain/configs/mae.py", encoder="clip"), "trains an encoder and takes none"),
        (dict(path=HEADS[0] + ".py", encoder=mae_checkpoint, checkpoint="other"), "name two folders"),
        (dict(path=HEADS[0] + ".py", encoder="a/b"), "a/b does not exist; make it with"),
    ):
        with pytest.raises(UserError, match=sentence):
            load_config(**arguments)


OPTIONS = [
    ("optim_wraper.optimizer.lr", "nothing reads 'optim_wraper'; did you mean optim_wrapper"),
    ("optim_wrapper.optimizer.lrr", "did you mean lr"),
    ("optim_wrapper.paramwise_cfg.layer_decays", "did you mean layer_decay"),
    ("train_cfg.max_iter", "did you mean max_iters"),
    ("train_dataloader.batch_sze", "did you mean batch_size"),
    ("train_dataloader.dataset.pipelin", "did you mean pipeline"),
    ("model.decode_head.chanels", "did you mean channels"),
    ("model.test_cfg.mod", "did you mean mode"),
    ("randomness.sed", "did you mean seed"),
    ("maks_ratio", "nothing reads 'maks_ratio'"),
]


@pytest.mark.parametrize("key, sentence", OPTIONS)
def test_options_that_nothing_reads(key, sentence, tmp_path):
    """Through --cfg-options and through a data overlay alike."""
    with pytest.raises(UserError, match=f"--cfg-options: .*{sentence}"):
        load_config("seg_configs/upernet_mae.py", options={key: 1})
    *parents, last = key.split(".")
    value = {last: 1}
    for name in reversed(parents):
        value = {name: value}
    overlay = tmp_path / "mine.py"
    data = "data = dict(name='mine', kind='seg', root='x', classes=('a', 'b'), size=(8, 8))"
    overlay.write_text(f"{data}\n" + "".join(f"{name} = {stated!r}\n" for name, stated in value.items()))
    with pytest.raises(UserError, match=f"{overlay}: .*{sentence}"):
        load_config("seg_configs/upernet_mae.py", data=str(overlay))


@pytest.mark.parametrize(
    "path, key, sentence",
    [
        ("seg_configs/upernet_mae.py", "param_scheduler.0.ende", "'param_scheduler.0.ende'; did you mean end"),
        ("depth/configs/mae.py", "model.backbone.drop_path", "did you mean drop_path_rate"),
        ("seg_configs/upernet_mae.py", "train_dataloader.dataset.pipeline.2.ratio_rang", "did you mean ratio_range"),
        ("pretrain/configs/mae.py", "model.encoder.kwargs.embed_dimm", "'embed_dimm'; did you mean embed_dim"),
        ("pretrain/configs/mae.py", "recipe.rat", "did you mean rate"),
        ("recognition/configs/knn.py", "neighbors", "did you mean neighbours"),
    ],
)  # fmt: skip
def test_names_inside_lists_and_of_encoders(path, key, sentence):
    with pytest.raises(UserError, match=sentence):
        load_config(path, options={key: 3}, encoder="mae" if path.startswith("recognition") else None)


def test_arguments_that_a_method_does_not_take():
    with pytest.raises(UserError, match="did you mean mask_ratio"):
        load_config("pretrain/configs/mae.py", options={"model.mask_ratoi": 0.5})
    cfg = load_config("pretrain/configs/mae.py", options={"model.mask_ratio": 0.5})
    assert cfg.model.mask_ratio == 0.5, "an argument that stands in no file is taken by its name"


SECTIONS = {
    "seg": ("upernet_mae", dict(classes=("a", "b"), size=(8, 8)), ["palete", "image_sufix", "splitts", "clases"]),
    "depth": ("depth", dict(size=(8, 8)), ["depth_scal", "max_dept", "label_sufix"]),
    "coco": ("mask_rcnn_mae", dict(size=(8, 8), classes=("a",)), ["anotations", "image"]),
}


@pytest.mark.parametrize("kind", SECTIONS)
def test_names_that_a_data_section_does_not_have(kind, tmp_path):
    name, stated, wrong = SECTIONS[kind]
    room = {"seg": "seg_configs", "depth": "depth/configs", "coco": "det_configs"}[kind]
    overlay, path = tmp_path / "mine.py", f"{room}/{'mae' if kind == 'depth' else name}.py"
    section = dict(name="mine", kind=kind, root="x", **stated)
    overlay.write_text(f"data = {section!r}\n")
    load_config(path, data=str(overlay))
    for key in wrong:
        overlay.write_text(f"data = {section | {key: 5}!r}\n")
        with pytest.raises(UserError, match=f"data set 'mine': kind '{kind}' has no '{key}'; did you mean "):
            load_config(path, data=str(overlay))


@pytest.mark.parametrize(
    "key, value, sentence",
    [
        ("size", (8,), r"'size' is \(8,\): give \(height, width\) in pixels"),
        ("size", (8, 0), "in pixels"),
        ("classes", "cat", "'classes' is 'cat': give a list, each a text"),
        ("ignore", (1.5,), "a list, each a whole number"),
        ("reduce_zero_label", 1, "True or False"),
        ("splits", dict(trian="t"), "splits name 'trian'"),
        ("images", 3, "'images' is 3: give a text"),
    ],
)
def test_values_of_another_type_in_a_data_section(key, value, sentence, tmp_path):
    overlay = tmp_path / "mine.py"
    section = dict(name="mine", kind="seg", root="x", classes=("a", "b"), size=(8, 8)) | {key: value}
    overlay.write_text(f"data = {section!r}\n")
    with pytest.raises(UserError, match=sentence):
        load_config("seg_configs/upernet_mae.py", data=str(overlay))


def test_marks_are_filled_or_named():
    cfg = load_config("depth/configs/mae.py")
    marks = {key: value for key, value in flatten(cfg.to_dict()).items() if value in (DATA, ENCODER, LAST)}
    assert set(marks.values()) == {ENCODER}, "data and schedule are known when a configuration is loaded"
    with pytest.raises(UserError, match="is still <encoder>: nothing in the encoder's checkpoint says it"):
        settled(cfg)
    with pytest.raises(UserError, match="model.decode_head.embed_dim is still <data>: nothing in the data section"):
        settled(Config(dict(model=dict(decode_head=dict(embed_dim=DATA)))))


def test_where_values_come_from(tmp_path):
    overlay = tmp_path / "mine.py"
    overlay.write_text("data = dict(name='mine', kind='seg', root='x', classes=('a', 'b'), size=(32, 48))\n"
                       "train_cfg = dict(max_iters=7)\n")  # fmt: skip
    trace = Trace()
    options = {"optim_wrapper.optimizer.weight_decay": 0.5}
    load_config("seg_configs/upernet_mae.py", data=str(overlay), options=options, trace=trace)
    assert trace.lines("optim_wrapper.optimizer.lr") == [
        "optim_wrapper.optimizer.lr = 0.002    engine/configs/_base_/finetuning.py"
    ]
    expected = {
        "optim_wrapper.optimizer.weight_decay": "--cfg-options", "train_cfg.max_iters": str(overlay),
        "train_dataloader.batch_size": "seg_configs/_base_/scale_tiny.py", "method": "seg_configs/upernet_mae.py",
        "head": "seg_configs/upernet.py", "log_level": "engine/configs/_base_/runtime.py",
        "model.decode_head.num_classes": "the data section", "work_dir": "the command line",
    }  # fmt: skip
    assert {key: trace.origin[key] for key in expected} == expected
    paper = Trace()
    load_config("seg_configs/upernet.py", scale="paper", encoder="beit", trace=paper)
    assert paper.origin["optim_wrapper.optimizer.lr"] == "by_method['beit']"
    assert paper.origin["train_cfg.max_iters"] == "seg_configs/_base_/upernet_paper.py"
    with pytest.raises(UserError, match="--show: the configuration has no 'optim'"):
        trace.lines("optim")


def test_layers_override_in_order(tmp_path):
    overlay = tmp_path / "mine.py"
    overlay.write_text(
        "data = dict(name='mine', kind='seg', root='x', classes=('a', 'b'), size=(32, 48), ignore=(2,))\n"
        "train_cfg = dict(max_iters=7)\n"
    )
    cfg = load_config("seg_configs/upernet_mae.py", data=str(overlay), options={"optim_wrapper.optimizer.lr": 0.5})
    assert cfg.train_cfg.max_iters == 7 and cfg.optim_wrapper.optimizer.lr == 0.5
    assert cfg.work_dir.startswith("runs/tiny-mine/upernet/mae/seed0-"), "options depart from the study's own cell"
    assert load_config("seg_configs/upernet_mae.py", data=str(overlay)).work_dir == "runs/tiny-mine/upernet/mae/seed0"
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 2
    dataset = cfg.train_dataloader.dataset
    assert dataset.data_root == "x" and dataset.images == "images/train" and dataset.ignore == [2]
    crop = next(t for t in dataset.pipeline if t.type == "CountedCrop")
    resize = next(t for t in dataset.pipeline if t.type == "RandomResize")
    assert crop.crop_size == (32, 48) and resize.scale == (48, 32), "crop_size is (h, w), scale is (w, h)"


def test_a_trial_is_scored_on_validation_images():
    assert load_config("seg_configs/upernet_mae.py").test_dataloader.dataset.images == "images/test"
    trial = load_config("seg_configs/upernet_mae.py", options={"role": "trial"})
    assert trial.test_dataloader.dataset.images == "images/val"
    trial = load_config("det_configs/mask_rcnn_mae.py", options={"role": "trial"})
    assert trial.test_evaluator.ann_file.endswith("instances_val.json")


def test_the_hash_sees_what_is_computed_and_not_where():
    base = load_config("depth/configs/mae.py")
    assert base.config_hash == load_config("depth/configs/mae.py", work_dir="elsewhere", resume=True).config_hash
    workers = load_config("depth/configs/mae.py", options={"train_dataloader.num_workers": 2})
    assert base.config_hash == workers.config_hash, "results do not depend on the number of workers"
    assert base.config_hash != load_config("depth/configs/mae.py", seed=1).config_hash
    assert base.config_hash != load_config("depth/configs/mae.py", amp=True).config_hash
    assert base.config_hash != load_config("depth/configs/mae.py", options={"train_cfg.max_iters": 401}).config_hash


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (dict(path="seg_configs/upernet_mea.py"), "did you mean upernet_mae.py"),
        (dict(path="seg_configs/upernet_mae.py", scale="huge"), "no scale 'huge': choose one of"),
        (dict(path="seg_configs/upernet_mae.py", data="nowhere.py"), "no config nowhere.py"),
        (dict(path="seg_configs/upernet_mae.py", options={"train_dataloader": 3}), "3', but names stand below it"),
        (dict(path="seg_configs/upernet_mae.py", options={"progress_interval": "often"}), "'often', but a number"),
        (dict(path="seg_configs/upernet_mae.py", options={"data.size": 3}), "'size' is 3: give .height, width."),
        (
            dict(path="pretrain/configs/mae.py", options={"train_cfg": None}),
            "its values do not fit together .* look for one of another kind or size than it should be in --cfg-options",
        ),
    ],
)
def test_mistakes_get_a_sentence(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        load_config(**arguments)


@pytest.mark.parametrize(
    "path, options, sentence",
    [
        ("pretrain/configs/mae.py", {"model.mask_ratio": 1.5}, "is 1.5, but it must be above 0 and below 1"),
        ("pretrain/configs/dino.py", {"model.momentum": [0.9, 1.1]}, "is 1.1, but it must be from 0 to 1"),
        ("pretrain/configs/mae.py", {"model.decoder_width": 0}, "is 0, but it must be 1 or more"),
        ("pretrain/configs/mae.py", {"train_cfg.max_iters": math.inf}, "is inf, but it must be 0 or more"),
        ("seg_configs/upernet_mae.py", {"optim_wrapper.optimizer.lr": -1}, "is -1, but it must be 0 or more"),
        ("seg_configs/upernet_mae.py", {"data.size": (0, 9)}, "'size' is .0, 9.: give .height, width. in pixels"),
    ],
)
def test_a_number_out_of_its_range_is_refused(path, options, sentence):
    with pytest.raises(UserError, match=sentence):
        load_config(path, options=options)


def test_an_argument_that_a_part_of_ones_own_file_does_not_take_is_refused(tmp_path):
    for room in ("pretrain/configs", "engine/configs"):
        shutil.copytree(room, tmp_path / room)
    with open(tmp_path / "pretrain/configs/mae.py", "a") as file:
        file.write("model['decoder_wdith'] = 32\n")
    with pytest.raises(UserError, match="MAE at model takes no 'decoder_wdith'.*decoder_width"):
        load_config(tmp_path / "pretrain/configs/mae.py")


def test_data_of_the_wrong_kind_is_refused(tmp_path):
    overlay = tmp_path / "mine.py"
    overlay.write_text("data = dict(name='mine', kind='coco', root='x')\n")
    with pytest.raises(UserError, match="of kind 'coco', but upernet needs 'seg'"):
        load_config("seg_configs/upernet_mae.py", data=str(overlay))
    overlay.write_text("data = dict(name='mine', kind='seg', root='x', size=(8, 8))\n")
    with pytest.raises(UserError, match="no 'classes'"):
        load_config("seg_configs/upernet_mae.py", data=str(overlay))
    overlay.write_text("root = 'x'\n")
    with pytest.raises(UserError, match="no `data = dict"):
        load_config("seg_configs/upernet_mae.py", data=str(overlay))
    overlay.write_text("data = dict(\n")
    with pytest.raises(UserError, match="cannot be read as a config"):
        load_config("seg_configs/upernet_mae.py", data=str(overlay))
