"""DataCompDR: loss and gradients against float64 loops, the published weights, text passes, two processes equal one."""

import json
import math

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, MODELS

import pretrain
from backbones.text import END, START, token_ids
from engine.errors import UserError
from pretrain.data.dataset import ImageTextShards, pretrain_collate
from pretrain.methods.datacompdr import DataCompDR
from pretrain.parts.losses import contrastive_losses
from study.configure import load_config
from tests.pretrain.processes import after_backward, on_two_processes
from tests.pretrain.samples import ENCODER

WIDTHS = [5, 3]
TEXTS = {"tokens": {"captions": "noisy"}, "tokens_synthetic": {"captions": "enriched"}}


@pytest.fixture
def inputs(shards):
    data = ImageTextShards(str(shards), 32, captions="noisy", context=16, texts=TEXTS)
    np.random.seed(0)
    batch = pretrain_collate([data[i] for i in range(6)])["inputs"]
    torch.manual_seed(1)
    names = ("teacher_image", "teacher_text", "teacher_text_synthetic")
    teachers = {name: torch.randn(6, sum(WIDTHS)).half() for name in names}
    texts = {name: batch[name] for name in TEXTS}
    return {"image": batch["image"].float() / 255, **texts, **teachers}


def build(text, clip_weight=0.25, distill_weight=0.75, **kwargs):
    torch.manual_seed(0)
    kwargs = {"teacher_widths": WIDTHS, **kwargs}
    model = DataCompDR(ENCODER, text, clip_weight=clip_weight, distill_weight=distill_weight, **kwargs)
    with torch.no_grad():
        model.logit_scale.fill_(1.3)
    return model


def unit(row):
    return row / row.square().sum().sqrt()


def softmax(scores):
    total = sum(torch.exp(score - max(scores)) for score in scores)
    return [torch.exp(score - max(scores)) / total for score in scores]


def clip_by_loops(image, text, scale):
    """1/2 (L_I + L_T), one pair at a time."""
    n, total = len(image), 0.0
    for i in range(n):
        for own, other in ((image, text), (text, image)):
            total = total - torch.log(softmax([scale * (unit(own[i]) @ unit(other[j])) for j in range(n)])[i]) / n
    return total / 2


def distillation_by_loops(image, text, scale, teacher_image, teacher_text, teacher_scale):
    """1/2 sum over directions of mean_i -sum_j p_ij log q_ij; p the mean over teachers of softmax(100 A_t)."""
    n, total = len(image), 0.0
    for i in range(n):
        for own, other, teacher_own, teacher_other in (
            (image, text, teacher_image, teacher_text),
            (text, image, teacher_text, teacher_image),
        ):
            student = softmax([scale * (unit(own[i]) @ unit(other[j])) for j in range(n)])
            each = []
            for columns in (slice(0, 5), slice(5, 8)):
                a, b = teacher_own[i, columns], teacher_other[:, columns]
                each.append(softmax([teacher_scale * (unit(a) @ unit(b[j])) for j in range(n)]))
            for j in range(n):
                total = total - (each[0][j] + each[1][j]) / 2 * torch.log(student[j]) / n
    return total / 2


@pytest.mark.parametrize("teacher_scale", [100.0, 4.0])
def test_loss_and_gradients_equal_loops(text, inputs, teacher_scale):
    model = build(text, teacher_scale=teacher_scale)
    read = {}
    model.image_projection.register_forward_hook(lambda _, given, out: read.update(image=(given[0], out)))
    model.text.projection.register_forward_hook(lambda _, given, out: read.update(text=(given[0], out)))
    losses = model(inputs=inputs)
    assert set(losses) == {
        "loss_clip", "loss_clip_synthetic", "loss_distill", "loss_distill_synthetic", "logit_scale"
    }  # fmt: skip
    assert read["text"][1].shape[0] == 12  # both captions in one pass
    sum(value for name, value in losses.items() if "loss" in name).backward()

    image = read["image"][1].detach().double().requires_grad_()
    texts = read["text"][1].detach().double().requires_grad_()
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    expected, teacher = {}, {name: inputs[name].double() for name in inputs if name.startswith("teacher")}
    for name, rows in (("", texts[:6]), ("_synthetic", texts[6:])):
        expected[f"loss_clip{name}"] = 0.25 * clip_by_loops(image, rows, scale.exp())
        expected[f"loss_distill{name}"] = 0.75 * distillation_by_loops(
            image, rows, scale.exp(), teacher["teacher_image"], teacher[f"teacher_text{name}"], teacher_scale
        )
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(float(value), rel=1e-5), name
    assert abs(float(expected["loss_distill"]) - float(expected["loss_distill_synthetic"])) > 1e-3
    sum(expected.values()).backward()
    slow = {
        "image_projection.weight": image.grad.T @ read["image"][0].detach().double(),
        "text.projection.weight": texts.grad.T @ read["text"][0].detach().double(),
        "logit_scale": scale.grad,
    }
    parameters = dict(model.named_parameters())
    for name, value in slow.items():
        assert value.abs().max() > 1e-3
        torch.testing.assert_close(parameters[name].grad.double(), value, rtol=1e-3, atol=1e-6)


def test_a_sure_teacher_leaves_clips_loss(text, inputs):
    """With orthonormal teacher embeddings and scale 100, p is one on the pair: L_KD is then L_CLIP."""
    own = torch.eye(8)[:6]
    for name in ("teacher_image", "teacher_text", "teacher_text_synthetic"):
        inputs[name] = own * 0.5  # not normalised: the method does it
    losses = build(text, 1.0, 1.0, teacher_widths=[8])(inputs=inputs)
    for name in ("", "_synthetic"):
        assert float(losses[f"loss_distill{name}"]) == pytest.approx(float(losses[f"loss_clip{name}"]), rel=1e-6)


def test_without_teacher_it_is_clip_on_both_captions(text, inputs):
    model = build(text, 1.0, 0.0, teacher_widths=None)
    inputs = {name: value for name, value in inputs.items() if not name.startswith("teacher")}
    losses = model(inputs=inputs)
    assert set(losses) == {"loss_clip", "loss_clip_synthetic", "logit_scale"}
    image = model.image_projection(model.encoder(inputs["image"]))
    for name in ("", "_synthetic"):
        pair = contrastive_losses(image, model.text(inputs[f"tokens{name}"]), model.logit_scale)
        assert float(losses[f"loss_clip{name}"]) == pytest.approx(float(sum(pair)) / 2, rel=1e-5)


def test_distillation_alone_has_no_pair_loss(text, inputs):
    both, alone = build(text)(inputs=inputs), build(text, 0.0, 1.0)(inputs=inputs)
    assert set(alone) == {"loss_distill", "loss_distill_synthetic", "logit_scale"}
    assert float(alone["loss_distill"]) == pytest.approx(float(both["loss_distill"]) / 0.75, rel=1e-5)


def token_row(count, width):
    row = torch.zeros(1, width, dtype=torch.long)
    row[0, : count + 2] = torch.tensor([START, *range(320, 320 + count), END])
    return row


@pytest.mark.parametrize(("lengths", "passes"), [((6, 11), 1), ((12, 6), 1), ((4, 15), 2), ((15, 4), 2)])
def test_one_text_pass_unless_it_were_mostly_padding(text, lengths, passes):
    model = build(text, 1.0, 0.0).eval()
    seen = []
    model.text.register_forward_hook(lambda _, given, out: seen.append(given[0].shape))
    real, synthetic = (token_row(length - 2, length) for length in lengths)
    found = model.embed_texts(real, synthetic)
    assert len(seen) == passes
    for tokens, embedding in zip((real, synthetic), found, strict=True):
        torch.testing.assert_close(embedding, model.text(tokens))


def test_temperature_is_clamped_and_the_checkpoint_names_the_tower(text):
    model = build(text)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model.after_step(0.1)
    assert float(model.logit_scale) == pytest.approx(math.log(100), rel=1e-6)
    assert model.checkpoint_meta()["text"]["embed_dim"] == 16
    assert {"logit_scale", "image_projection.weight", "text.projection.weight"} <= set(model.text_state())


def test_wrong_input_is_a_sentence(text, inputs):
    for weights in ((0.0, 0.0), (-1.0, 2.0)):
        with pytest.raises(UserError, match=r"must not be negative.*\(0.25, 0.75\)"):
            build(text, *weights)
    with pytest.raises(UserError, match="needs stored teachers.*tools/reinforce.py"):
        build(text, teacher_widths=None)
    with pytest.raises(UserError, match="teacher_image has 8 values a sample, but teacher_widths"):
        build(text, teacher_widths=[8, 8])(inputs=inputs)
    del inputs["teacher_text"]
    with pytest.raises(UserError, match="the batch has no teacher_text: name a folder"):
        build(text)(inputs=inputs)


def test_two_processes_equal_one(text, inputs, tmp_path):
    def step(rows):
        model = build(text)
        return after_backward(model, model(inputs={name: value[rows] for name, value in inputs.items()}))

    expected = step(slice(0, 6))
    found = on_two_processes(step, 6, tmp_path)
    assert found.keys() == expected.keys() and expected["grad of logit_scale"].abs() > 1e-4
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


ROWS = {"clip_rewritten": "CLIP", "clip_enriched": "CLIP", "clip_mixed": "CLIP", "datacompdr": "DataCompDR"}


@pytest.mark.parametrize("name", ROWS)
def test_caption_rows_build_at_every_scale(name, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "128")
    for scale, share in (("tiny", 64), ("study", 64), ("paper", 512 if name == "datacompdr" else 64)):
        cfg = load_config(f"pretrain/configs/{name}.py", scale=scale, launcher="pytorch")
        data = cfg.train_dataloader.dataset
        assert data.context == cfg.model.text.context and cfg.train_dataloader.batch_size == share
        if scale == "paper":
            cfg.model.encoder.kwargs.depth = cfg.model.text.layers = 1  # the widths are the published ones
            model = MODELS.build(cfg.model)
            assert type(model).__name__ == ROWS[name] and model.encoder.num_features == 768
            assert model.text.size == 49409 and model.text.context == 77


def test_an_enriched_caption_fills_its_context_and_a_longer_row_is_refused(configure):
    cfg = configure("pretrain/configs/clip_enriched.py", 2)
    pretrain.fill(cfg)
    data = DATASETS.build(cfg.train_dataloader.dataset)
    assert data.context == 128 and max(len(token_ids(data_text(data, i))) for i in range(20)) > 100
    cfg.model.text.context = 48
    with pytest.raises(UserError, match="dataset.context 128 is more than model.text.context 48: set both alike"):
        pretrain.fill(cfg)


def data_text(data, index):
    return json.loads(data.reader.read(index, 2))["captions"]["enriched"]
