"""MaskCLIP: each term against float64 loops, stop-gradients as exact zeros, the teacher's arithmetic."""

import numpy as np
import pytest
import torch

from backbones.text import END, START, word_tokens
from pretrain.methods import maskclip as module
from pretrain.methods.maskclip import MaskCLIP
from pretrain.parts.ema import EmaTeacher
from pretrain.parts.masking import random_mask
from pretrain.parts.mlm import choose_words
from tests.pretrain.samples import ENCODER

HEAD = {"hidden": 16, "bottleneck": 8, "codes": 12}


def build(text, **kwargs):
    torch.manual_seed(0)
    return MaskCLIP(encoder=ENCODER, text=text, decoder_heads=3, quantizer=HEAD, mlm={"depth": 1}, **kwargs)


def step_inputs(batch):
    return {"image": batch["image"].float() / 255, "tokens": batch["tokens"]}


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def test_distillation_by_loops(text, batch):
    model = build(text, centre_momentum=0.9)
    model.centre.value.copy_(torch.linspace(-0.3, 0.3, 12))
    model.progress = 0.15  # half of the warm-up
    inputs = step_inputs(batch)
    mask = random_mask(6, 16, 0.75, torch.device("cpu"))
    prefix, patches = module.embed_tokens(model.encoder, inputs["image"])
    student = model.student_features(prefix, patches, mask)
    scores_student = model.head(student).detach().double().numpy()
    features = model.teacher.module.forward_features(inputs["image"])[:, 1:]
    scores_teacher = model.head_teacher.module(features).detach().double().numpy()  # all 16 places
    centre = model.centre.value.double().numpy().copy()
    total = []
    for b in range(6):
        for m, place in enumerate(mask.hidden[b].tolist()):
            code = softmax((scores_teacher[b, place] - centre) / 0.055)
            total.append(-(code * np.log(softmax(scores_student[b, m] / 0.1))).sum())
    assert len(total) == 6 * 12
    found = model.distill(student, None, inputs["image"], mask)
    assert float(found) == pytest.approx(np.mean(total), rel=1e-4)
    seen = np.array([scores_teacher[b, place] for b in range(6) for place in mask.hidden[b].tolist()])
    np.testing.assert_allclose(model.centre.value, 0.9 * centre + 0.1 * seen.mean(axis=0), atol=1e-6)


def test_weights_and_no_half(text, batch):
    inputs = step_inputs(batch)
    losses = build(text)(inputs=inputs)
    assert set(losses) == {"loss_image", "loss_text", "loss_mlm", "loss_distill", "logit_scale"}
    torch.manual_seed(5)
    plain = build(text, distill_weight=1.0, mlm_weight=1.0)
    torch.manual_seed(5)
    unit = plain(inputs=inputs)
    weighted = build(text)
    torch.manual_seed(5)
    found = weighted(inputs=inputs)
    assert float(found["loss_mlm"]) == pytest.approx(0.05 * float(unit["loss_mlm"]), rel=1e-5)
    assert float(found["loss_distill"]) == pytest.approx(0.05 * float(unit["loss_distill"]), rel=1e-5)
    full = weighted.image_projection(weighted.encoder(inputs["image"]))
    whole = module.contrastive_losses(full, weighted.text(inputs["tokens"]), weighted.logit_scale)
    assert float(found["loss_image"]) == pytest.approx(float(whole[0]), rel=1e-5)  # not halved


def test_teacher_and_its_head_get_no_gradient(text, batch):
    model = build(text)
    losses = model(inputs=step_inputs(batch))
    sum(value for name, value in losses.items() if "loss" in name).backward()
    for name, parameter in model.named_parameters():
        if "teacher" in name:
            assert parameter.grad is None and not parameter.requires_grad, name
        else:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0 or "key" in name, name


def test_same_network_target_sends_no_gradient_through_the_target(text, batch):
    model = build(text, momentum=None, centre_momentum=None)
    inputs, mask = step_inputs(batch), random_mask(6, 16, 0.75, torch.device("cpu"))
    full = torch.randn(6, 17, 24, requires_grad=True)
    student = torch.randn(6, 12, 24)
    model.distill(student, full, inputs["image"], mask).backward()
    assert full.grad is None


def test_teacher_arithmetic():
    student = torch.nn.Linear(3, 2)
    teacher = EmaTeacher(student, (0.9, 1.0))
    start = teacher.module.weight.clone()
    assert torch.equal(start, student.weight)
    with torch.no_grad():
        student.weight.add_(1.0)
    teacher.update(student, progress=0.5)  # m = 0.95
    torch.testing.assert_close(teacher.module.weight, 0.95 * start + 0.05 * (start + 1))
    teacher.update(student, progress=1.0)  # m = 1: stays
    torch.testing.assert_close(teacher.module.weight, start + 0.05)


def test_after_step_moves_teacher_and_clamps(text):
    model = build(text, momentum=(0.5, 0.5))
    with torch.no_grad():
        model.encoder.norm.bias.fill_(2.0)
        model.head.mlp[0].bias.fill_(4.0)
        model.logit_scale.fill_(9.0)
    model.after_step(0.1)
    assert model.teacher.module.norm.bias.unique().tolist() == [1.0]
    assert model.head_teacher.module.mlp[0].bias.unique().tolist() == [2.0]
    assert float(model.logit_scale) == pytest.approx(np.log(100), rel=1e-6)


def test_chosen_words():
    tokens = torch.zeros(300, 12, dtype=torch.long)
    lengths = torch.arange(300) % 11  # words: 0 .. 10
    for row, n in enumerate(lengths.tolist()):
        tokens[row, : n + 2] = torch.tensor([START, *range(100, 100 + n), END])
    words = word_tokens(tokens)
    assert torch.equal(words.sum(dim=1), lengths)
    torch.manual_seed(0)
    chosen = choose_words(words, 0.2)
    for row, n in enumerate(lengths.tolist()):
        picked = chosen.index[row][chosen.weight[row] > 0].tolist()
        assert len(picked) == len(set(picked)) == (max(1, int(0.2 * n + 0.5)) if n else 0)
        assert all(100 <= int(tokens[row, place]) < 100 + n for place in picked)  # no start, end or padding
        assert float(chosen.weight[row].sum()) == pytest.approx(1.0 if n else 0.0)


def test_mlm_by_loops(text, batch):
    model = build(text)
    tokens = batch["tokens"]
    ids = model.text.own_ids(tokens)
    torch.manual_seed(2)
    chosen = choose_words(word_tokens(tokens), 0.2)
    masked = model.mlm.corrupt(ids, chosen, model.text)
    assert ((masked == model.text.mask_id) == (masked != ids)).all()
    assert not (masked == model.text.mask_id)[~word_tokens(tokens)].any()
    scores = model.mlm.predict(model.text.token_features(masked), tokens, chosen).detach().double().numpy()
    per_caption = []
    for b in range(len(tokens)):
        terms = [
            -np.log(softmax(scores[b, k])[ids[b, chosen.index[b, k]]])
            for k in range(chosen.index.shape[1])
            if chosen.weight[b, k] > 0
        ]
        per_caption.append(np.mean(terms))
    torch.manual_seed(2)
    pooled, loss = model.mlm(model.text, tokens)
    assert float(loss) == pytest.approx(np.mean(per_caption), rel=1e-5)
    torch.testing.assert_close(pooled, model.text(tokens))


@pytest.mark.parametrize(
    ("kwargs", "absent"),
    [
        ({"mlm_weight": 0}, "loss_mlm"),
        ({"distill_weight": 0}, "loss_distill"),
        ({"target": "feature"}, None),
        ({"target": "pixel"}, None),
        ({"momentum": None}, None),
        ({"decoder_depth": 2, "centre_momentum": None}, None),
    ],
)
def test_published_ablations_run(text, batch, kwargs, absent):
    model = build(text, **kwargs)
    losses = model(inputs=step_inputs(batch))
    assert absent not in losses
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    model.after_step(1.0)


def test_mlm_variants(text, batch):
    for mlm in ({"causal": False}, {"corruption": (0.8, 0.1, 0.1)}):
        torch.manual_seed(0)
        model = MaskCLIP(encoder=ENCODER, text=text, decoder_heads=3, quantizer=HEAD, mlm=mlm)
        assert torch.isfinite(model(inputs=step_inputs(batch))["loss_mlm"])


def test_targets_ignore_padding_columns(text, batch):
    """More padding behind the captions changes neither the embedding nor what the decoder attends."""
    model = build(text).eval()
    tokens = batch["tokens"]
    wider = torch.nn.functional.pad(tokens, (0, 16 - tokens.shape[1]))
    torch.testing.assert_close(model.text(tokens), model.text(wider))
