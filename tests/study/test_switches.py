"""Switches of a run: said by flags or options, in the hash where they change numbers, refused where they do nothing."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import BaseDataElement

from engine.errors import UserError
from engine.switches import SWITCHES, key_of, precision, with_flags
from engine.transfer import moved
from study.configure import load_config
from study.runner import SwitchedRunner, set_precision, switch

MAE = "pretrain/configs/mae.py"
KEYS = ["recompute_blocks", "compile_blocks", "channels_last", "tf32"]


def test_what_is_off_leaves_no_trace_and_what_is_on_is_in_the_hash():
    plain = load_config(MAE)
    assert [key_of(switch) for switch in SWITCHES] == KEYS and not {*KEYS} & {*plain}
    assert load_config(MAE, options=dict.fromkeys(KEYS, False)).config_hash == plain.config_hash
    hashes = {key: load_config(MAE, options={key: True}).config_hash for key in KEYS}
    assert hashes.pop("recompute_blocks") == plain.config_hash, "it changes no number: a run may go on with it"
    assert len({plain.config_hash, *hashes.values()}) == 4


def test_flags_are_options():
    words = {"activation_checkpointing": True, "compile": True, "tf32": False, "accumulation": 4, "seed": 1}
    options = with_flags({"channels_last": True}, words)
    assert options == {"channels_last": True, "recompute_blocks": True, "compile_blocks": True, "accumulation": 4}
    assert words == {"seed": 1}
    with pytest.raises(UserError, match="accumulation is said by a flag and by --cfg-options"):
        with_flags({"accumulation": 2}, {"accumulation": 4})


@pytest.mark.parametrize("config, options, said", [
    (MAE, {"tf32": "yes"}, "tf32 is 'yes': say True or False"),
    (MAE, {"compile": True}, "nothing reads 'compile'; did you mean compile_blocks"),
    ("probes/configs/linear_seg.py", {"compile_blocks": True}, "--compile is for trainings"),
    ("probes/configs/linear_seg.py", {"accumulation": 2}, "--accumulation is for trainings"),
])  # fmt: skip
def test_what_nothing_would_read_is_refused(config, options, said):
    encoder = {} if config == MAE else {"encoder": "mae"}
    with pytest.raises(UserError, match=said):
        load_config(config, options=options, **encoder)


def test_a_test_of_an_encoder_is_one_process():
    with pytest.raises(UserError, match="in one process: leave out --launcher"):
        load_config("probes/configs/linear_seg.py", encoder="mae", launcher="pytorch")


def test_bf16_by_the_flag_or_by_an_option():
    """What a study's options say has the effect of the flag; it was taken without any."""
    option = {"optim_wrapper.amp": True}
    by_option, by_flag = load_config(MAE, options=option), load_config(MAE, amp=True)
    assert by_option.optim_wrapper.amp is True and by_option.config_hash == by_flag.config_hash
    assert load_config(MAE, options=option, amp=True).optim_wrapper.amp is True
    assert load_config(MAE, options={"optim_wrapper.amp": False}).config_hash == load_config(MAE).config_hash
    with pytest.raises(UserError, match="optim_wrapper.amp is 'yes': say True or False"):
        load_config(MAE, options={"optim_wrapper.amp": "yes"})
    with pytest.raises(UserError, match="optim_wrapper.amp is False beside --amp"):
        load_config(MAE, options={"optim_wrapper.amp": False}, amp=True)


def test_precision_is_what_gpus_are_told(monkeypatch):
    told = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", told.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # torch's own default
    names = []
    for amp in (False, True):
        for asked in ({}, {"tf32": True}):
            names.append(precision(load_config(MAE, options=asked, amp=amp)))
    assert names == ["float32", "tf32", "bf16", "bf16+tf32"]
    set_precision(load_config(MAE))
    assert told == ["highest"] and not torch.backends.cudnn.allow_tf32
    with pytest.raises(UserError, match="--tf32 is for NVIDIA GPUs, and torch sees none"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        set_precision(load_config(MAE, options={"tf32": True}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    set_precision(load_config(MAE, options={"tf32": True}))
    assert told == ["highest", "high"] and torch.backends.cudnn.allow_tf32


def test_every_loader_pins_where_there_is_a_gpu(monkeypatch):
    loader = dict(dataset=range(4), batch_size=2, sampler=range(4), collate_fn=list)
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert SwitchedRunner.build_dataloader({**loader, "pin_memory": not there}).pin_memory is there


class Noted(BaseDataElement):
    """Notes how it is moved."""

    def to(self, *args, **kwargs):
        self.set_field(kwargs, "moved")
        return self


@pytest.mark.parametrize("preprocessor", ["SegDataPreProcessor", "DetDataPreprocessor", "ImagePreprocessor"])
def test_every_preprocessor_moves_without_waiting(preprocessor):
    model = torch.nn.Module()
    with DefaultScope.overwrite_default_scope("mmseg" if preprocessor.startswith("Seg") else "mmdet"):
        model.data_preprocessor = MODELS.build(dict(type=preprocessor))
    switch(model, {})
    sample = Noted()
    model.data_preprocessor.cast_data({"data_samples": [sample]})
    assert sample.moved == {"non_blocking": True}


def test_what_goes_to_a_gpu_is_pinned_first(monkeypatch):
    tensor = torch.zeros(3)
    assert moved(tensor, "cpu") is tensor
    steps = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: steps.append("pinned") or tensor)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device, **how: steps.append((str(device), how)) or tensor)
    moved(tensor, "cuda:1")
    assert steps == ["pinned", ("cuda:1", {"non_blocking": True})]


def test_a_record_names_what_can_change_numbers():
    options = {"compile_blocks": True, "recompute_blocks": True, "accumulation": 2, "progress_interval": 5}
    assert load_config("depth/configs/mae.py", options=options).departures == ["accumulation=2", "compile_blocks=True"]
