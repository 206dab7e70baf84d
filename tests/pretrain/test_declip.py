"""DeCLIP: every term against float64 loops, the bank's order and restore, stop-gradients, two processes equal one."""

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from backbones.text import word_tokens
from engine.errors import UserError
from pretrain.data.dataset import ImageTextShards, pretrain_collate
from pretrain.methods.declip import DeCLIP, TextBank, pick_loss
from study.configure import load_config
from tests.pretrain.processes import after_backward, on_two_processes
from tests.pretrain.samples import ENCODER

WEIGHTS = {"pair_weight": 0.4, "simsiam_weight": 0.2, "mlm_weight": 0.2, "neighbour_weight": 0.2}


@pytest.fixture
def inputs(shards):
    views = {name: {"scale": (0.2, 1.0), "flip": 0.5} for name in ("image_1", "image_2")}
    texts = {"tokens": {}, "tokens_edited": {"eda": True}}
    data = ImageTextShards(str(shards), 32, captions="aligned", context=16, views=views, texts=texts)
    np.random.seed(0)
    batch = pretrain_collate([data[i] for i in range(6)])["inputs"]
    assert not torch.equal(batch["tokens"], batch["tokens_edited"])
    return {name: batch[name].float() / 255 if name in views else batch[name] for name in (*views, *texts)}


def build(text, bank=40, **kwargs):
    torch.manual_seed(0)
    return DeCLIP(encoder=ENCODER, text=text, projector=20, bottleneck=10, bank=bank, **kwargs)


def unit(rows):
    return [row / row.square().sum().sqrt() for row in rows]


def cross_entropy(own, candidates, scale):
    """Mean over rows of own of -log softmax over candidates at the row's own place."""
    total = 0.0
    for i, row in enumerate(own):
        scores = torch.stack([scale * (row @ other) for other in candidates])
        total = total - torch.log(torch.exp(scores[i]) / torch.exp(scores).sum())
    return total / len(own)


def nearest(rows, bank):
    """For each row the bank's entry of the largest cosine, by search."""
    found = []
    for row in unit(rows):
        cosines = [float(row @ other) for other in bank]
        found.append(bank[cosines.index(max(cosines))])
    return found


def features(model, inputs):
    """Both views' and both texts' embeddings [B, E] in float64, without gradient."""
    views = [model.image_projection(model.encoder(inputs[name])) for name in ("image_1", "image_2")]
    texts = [model.text(inputs[name]) for name in ("tokens", "tokens_edited")]
    return [x.detach().double() for x in (*views, *texts)]


def test_every_term_by_loops(text, inputs):
    model = build(text)
    with torch.no_grad():
        model.logit_scale.fill_(1.0)
    view_1, view_2, caption, edited = features(model, inputs)
    bank = [row.double() for row in model.bank.rows.clone()]
    scale = float(torch.e)
    pairs = neighbours = 0.0
    for view in (view_1, view_2):
        for words in (caption, edited):
            image, words_unit = unit(view), unit(words)
            pairs += (cross_entropy(image, words_unit, scale) + cross_entropy(words_unit, image, scale)) / 2
            neighbours += cross_entropy(image, nearest(words, bank), scale)
    losses = model(inputs=inputs)
    assert set(losses) == {"loss_pairs", "loss_simsiam", "loss_mlm", "loss_neighbour", "logit_scale"}
    assert float(losses["loss_pairs"]) == pytest.approx(0.4 * float(pairs) / 4, rel=1e-5)
    assert float(losses["loss_neighbour"]) == pytest.approx(0.2 * float(neighbours) / 4, rel=1e-5)
    assert float(losses["loss_simsiam"]) == pytest.approx(
        0.2 * float(simsiam_by_loops(model, view_1, view_2)), rel=1e-4
    )


def simsiam_by_loops(model, one, two):
    """-(cos(h(z1), z2) + cos(h(z2), z1)) / 2, the other's z held constant, BatchNorm written out."""

    def norm(rows, layer):
        centred = rows - rows.mean(dim=0)
        return centred / (centred.square().mean(dim=0) + layer.eps).sqrt() * layer.weight.double() + layer.bias.double()

    def project(x):
        layers = model.projector
        for k in (0, 3, 6):
            x = norm(x @ layers[k].weight.double().T, layers[k + 1])
            x = x if k == 6 else x.clamp(min=0)
        return x

    def predict(z):
        first, last = model.predictor[0], model.predictor[3]
        hidden = norm(z @ first.weight.double().T + first.bias.double(), model.predictor[1]).clamp(min=0)
        return hidden @ last.weight.double().T + last.bias.double()

    z1, z2 = project(one), project(two)
    total = 0.0
    for prediction, target in ((predict(z1), z2.detach()), (predict(z2), z1.detach())):
        cosines = [p @ z for p, z in zip(unit(prediction), unit(target), strict=True)]
        total = total - sum(cosines) / len(cosines) / 2
    return total


def test_simsiam_gradient_equals_loops(text):
    model = build(text)
    torch.manual_seed(1)
    one, two = (torch.randn(6, 16, requires_grad=True) for _ in range(2))
    weights = [model.projector[0].weight, model.predictor[3].weight]
    found = torch.autograd.grad(model.simsiam(one, two), (one, two, *weights))
    expected = torch.autograd.grad(simsiam_by_loops(model, one.double(), two.double()), (one, two, *weights))
    for got, want in zip(found, expected, strict=True):
        assert want.abs().max() > 1e-3
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)


def test_simsiam_targets_get_no_gradient(text):
    """With a predictor of zeros and an offset, the targets are all that depends on the views."""
    model = build(text)
    with torch.no_grad():
        model.predictor[3].weight.zero_()
        model.predictor[3].bias.fill_(1.0)
    one, two = (torch.randn(6, 16, requires_grad=True) for _ in range(2))
    model.simsiam(one, two).backward()
    assert one.grad.abs().max() == 0 and two.grad.abs().max() == 0
    assert model.projector[0].weight.grad.abs().max() == 0
    assert model.predictor[3].bias.grad.abs().max() > 1e-3


def test_pick_loss_gradient_equals_loops():
    torch.manual_seed(0)
    image = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    words = torch.nn.functional.normalize(torch.randn(5, 7), dim=-1)
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    slow = cross_entropy(unit(image), words.double(), scale.exp())
    expected = torch.autograd.grad(slow, (image, scale))
    fast = pick_loss(image, words, scale.float())
    found = torch.autograd.grad(fast, (image, scale))
    assert float(fast) == pytest.approx(float(slow), rel=1e-5)
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_bank_is_first_in_first_out():
    torch.manual_seed(0)
    bank = TextBank(5, 3)
    torch.testing.assert_close(bank.rows.norm(dim=1), torch.ones(5))
    start = bank.rows.clone()
    new = torch.nn.functional.normalize(torch.randn(8, 3), dim=-1)
    bank.add(7.0 * new[:3])  # stored at length 1
    torch.testing.assert_close(bank.rows, torch.stack([*new[:3], *start[3:]]))
    assert int(bank.next) == 3
    bank.add(new[3:7])  # wraps: the oldest two of the start, then the first two of the first call
    torch.testing.assert_close(bank.rows, torch.stack([new[5], new[6], new[2], new[3], new[4]]))
    assert int(bank.next) == 2
    bank.add(new)  # more than fit: the last five
    assert {tuple(row.tolist()) for row in bank.rows} == {tuple(row.tolist()) for row in bank.nearest(new[3:])}
    torch.testing.assert_close(bank.nearest(new[3:]), new[3:])


def test_nearest_by_search_and_without_gradient():
    torch.manual_seed(0)
    bank = TextBank(30, 4)
    words = torch.randn(9, 4, requires_grad=True)
    found = bank.nearest(words)
    torch.testing.assert_close(found, torch.stack(nearest(words.detach(), list(bank.rows))))
    assert not found.requires_grad


def test_bank_takes_edits_then_captions_after_the_look_up(text, inputs):
    model = build(text)
    _, _, caption, edited = features(model, inputs)
    before = model.bank.rows.clone()
    model(inputs=inputs)
    expected = torch.stack([*unit(edited), *unit(caption)]).float()
    torch.testing.assert_close(model.bank.rows[:12], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(model.bank.rows[12:], before[12:]) and int(model.bank.next) == 12
    # Had the step already seen its own captions, each would have been its own neighbour.
    assert not torch.isclose(model.bank.nearest(caption), before[:, None]).all(dim=-1).any()


def test_bank_survives_a_checkpoint(text, inputs, tmp_path):
    model = build(text, bank=20)
    for _ in range(2):  # 24 rows into 20 places
        model(inputs=inputs)
    assert int(model.bank.next) == 4
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other = DeCLIP(encoder=ENCODER, text=text, projector=20, bottleneck=10, bank=20)
    assert not torch.equal(other.bank.rows, model.bank.rows)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    results = []
    for each in (model, other):
        torch.manual_seed(3)
        results.append(after_backward(each, each(inputs=inputs)))
    assert int(other.bank.next) == 16
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), name


def test_what_each_term_teaches(text, inputs):
    """Names of what gets a gradient: SimSiam and the neighbours never reach the text, the masked words no image."""
    model = build(text)
    losses = model(inputs=inputs)
    parts = {
        "loss_pairs": ("encoder", "image_projection", "text", "logit_scale"),
        "loss_simsiam": ("encoder", "image_projection", "projector", "predictor"),
        "loss_mlm": ("text.token", "text.positional", "text.blocks", "text.ln", "mlm"),
        "loss_neighbour": ("encoder", "image_projection", "logit_scale"),
    }
    for loss, taught in parts.items():
        model.zero_grad()
        losses[loss].backward(retain_graph=True)
        for name, parameter in model.named_parameters():
            assert (parameter.grad is not None and parameter.grad.abs().max() > 0) == name.startswith(taught), (
                loss, name,
            )  # fmt: skip


def test_weights_and_absent_branches(text, inputs):
    found = {}
    for scale in (1.0, 2.0):
        torch.manual_seed(4)
        model = build(text, **{name: scale * weight for name, weight in WEIGHTS.items()})
        torch.manual_seed(4)
        found[scale] = model(inputs=inputs)
    for name in ("loss_pairs", "loss_simsiam", "loss_mlm", "loss_neighbour"):
        assert float(found[2.0][name]) == pytest.approx(2 * float(found[1.0][name]), rel=1e-6) != 0
    torch.manual_seed(4)
    published = build(text)
    torch.manual_seed(4)
    for name, value in published(inputs=inputs).items():
        assert float(value) == float(found[1.0][name])
    alone = build(text, simsiam_weight=0, mlm_weight=0, neighbour_weight=0)
    assert {name.split(".")[0] for name in alone.state_dict()} == {"encoder", "text", "image_projection", "logit_scale"}
    losses = alone(inputs=inputs)
    assert set(losses) == {"loss_pairs", "logit_scale"}
    torch.testing.assert_close(losses["loss_pairs"], found[1.0]["loss_pairs"])


def test_masked_words_are_berts(text, inputs):
    """15 % of the words; of 2000 chosen ones about 80 % turn into [MASK] and half of the rest into another token."""
    from pretrain.parts.mlm import choose_words

    model = build(text)
    assert model.mlm.ratio == 0.15 and len(model.mlm.blocks) == 0 and model.mlm.causal
    tokens = inputs["tokens"].repeat(400, 1)
    ids = model.text.own_ids(tokens)
    torch.manual_seed(0)
    chosen = choose_words(word_tokens(tokens), 0.15)
    masked = model.mlm.corrupt(ids, chosen, model.text)
    n = int((chosen.weight > 0).sum())
    kept = n - int((masked != ids).sum())
    assert n >= 2000 and int((masked == model.text.mask_id).sum()) / n == pytest.approx(0.8, abs=0.04)
    size = model.text.mask_id
    assert kept / n == pytest.approx(0.1 + 0.1 / size, abs=0.03)  # a random token may be the old one


def test_two_processes_equal_one(text, inputs, tmp_path, monkeypatch):
    """Three steps, so that the last looks up what both processes put into a bank that has wrapped round."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # BatchNorm of so few rows magnifies rounding
    inputs = {name: value.double() if "image" in name else value for name, value in inputs.items()}
    everything = {"ratio": 1.0, "corruption": (1.0, 0.0, 0.0)}  # no draw can differ between the processes

    def step(rows):
        model = build(text, bank=16, mlm=everything).double()
        batch = {name: value[rows] for name, value in inputs.items()}
        for _ in range(2):
            model(inputs=batch)
        return after_backward(model, model(inputs={**batch, "tokens": batch["tokens_edited"]}))

    found, expected = on_two_processes(step, 6, tmp_path), step(slice(None))
    assert found.keys() == expected.keys() and {"bank.rows", "bank.next", "projector.7.running_var"} <= found.keys()
    assert int(expected["bank.next"]) == 36 % 16
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10, msg=lambda text, n=name: f"{n}: {text}")


def test_wrong_bank_is_refused(text):
    with pytest.raises(UserError, match=r"model\.bank is 0: .* at least one place"):
        build(text, bank=0)


@pytest.mark.parametrize("scale", ["tiny", "study", "paper"])
def test_config(scale, text):
    cfg = load_config("pretrain/configs/declip.py", scale=scale)
    dataset = cfg.train_dataloader.dataset
    assert set(dataset.views) == {"image_1", "image_2"} and dataset.texts.to_dict() == {
        "tokens": {}, "tokens_edited": {"eda": True},
    }  # fmt: skip
    model = cfg.model.to_dict()
    if scale == "paper":
        assert cfg.train_dataloader.batch_size == 4096 and cfg.train_cfg.max_iters == 128_000
        model["text"] |= {"layers": 1, "vocabulary": text["vocabulary"]}  # the rest of 150 million parameters is depth
        model["encoder"]["kwargs"]["depth"] = 1
    else:
        model["text"]["vocabulary"] = text["vocabulary"]
    built = MODELS.build(model)
    widths = [*built.bank.rows.shape, built.projector[0].in_features, *built.predictor[0].weight.shape]
    assert widths == ([65536, 512, 512, 512, 1024] if scale == "paper" else [2048, 96, 96, 96, 192])
    assert built.needs == {*dataset.views, *dataset.texts}
