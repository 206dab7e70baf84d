"""WSP: the loss against a float64 loop, images without tags, processes with different numbers of them."""

import numpy as np
import pytest
import torch

from pretrain.methods.wsp import WSP
from tests.pretrain.processes import after_backward, on_two_processes
from tests.pretrain.samples import ENCODER

TAGS = torch.tensor([[3, -1, -1], [0, 2, 5], [-1, -1, -1], [6, 1, -1]])
CLASSES = 7


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = WSP(encoder=ENCODER, num_classes=CLASSES)
    torch.nn.init.normal_(model.head.weight)
    return model


def by_hand(model, images, tags):
    """(loss, gradient of the head's weight), one image at a time in float64 against the whole multi-hot row."""
    with torch.no_grad():
        features = model.encoder(images).double().numpy()
    weight, bias = (p.detach().double().numpy() for p in (model.head.weight, model.head.bias))
    losses, gradient = [], np.zeros_like(weight)
    tagged = [row for row in range(len(tags)) if any(tag >= 0 for tag in tags[row].tolist())]
    for row in tagged:
        target = np.zeros(CLASSES)
        for tag in tags[row].tolist():
            if tag >= 0:
                target[tag] = 1
        target /= target.sum()
        scores = weight @ features[row] + bias
        probability = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        losses.append(-sum(target[c] * np.log(probability[c]) for c in range(CLASSES)))
        gradient += np.outer(probability - target, features[row]) / len(tagged)
    return np.mean(losses), gradient


def test_loss_and_gradient_by_loops(model):
    images = torch.randn(4, 3, 32, 32)
    loss = model(inputs={"image": images, "tags": TAGS})["loss_tags"]
    loss.backward()
    expected, gradient = by_hand(model, images, TAGS)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(model.head.weight.grad, gradient, atol=1e-6, rtol=1e-4)
    assert model.encoder.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


def test_an_image_without_tags_contributes_nothing(model):
    images = torch.randn(4, 3, 32, 32, requires_grad=True)
    loss = model(inputs={"image": images, "tags": TAGS})["loss_tags"]
    loss.backward()
    assert (images.grad[2] == 0).all() and (images.grad[[0, 1, 3]] != 0).any(dim=(1, 2, 3)).all()
    kept = [0, 1, 3]
    without = model(inputs={"image": images[kept].detach(), "tags": TAGS[kept]})["loss_tags"]
    torch.testing.assert_close(loss, without)


def test_a_batch_without_any_tag_is_zero_and_can_be_stepped(model):
    loss = model(inputs={"image": torch.randn(2, 3, 32, 32), "tags": torch.full((2, 3), -1)})["loss_tags"]
    loss.backward()
    assert float(loss) == 0 and all((p.grad == 0).all() for p in model.parameters() if p.grad is not None)


def test_more_padding_changes_nothing(model):
    images = torch.randn(4, 3, 32, 32)
    wider = torch.nn.functional.pad(TAGS, (0, 5), value=-1)
    loss = [model(inputs={"image": images, "tags": tags})["loss_tags"] for tags in (TAGS, wider)]
    assert torch.equal(*loss)


def test_every_image_weighs_the_same_in_the_global_batch(model, tmp_path):
    """Two processes, two tagged images in one and one in the other: their mean is the step of all."""
    images, tags = torch.randn(6, 3, 32, 32), torch.cat([TAGS, torch.full((2, 3), -1)])

    def step(rows: slice) -> dict[str, torch.Tensor]:
        model.zero_grad()
        return after_backward(model, model(inputs={"image": images[rows], "tags": tags[rows]}))

    expected = step(slice(None))
    found = on_two_processes(step, len(images), tmp_path)
    assert expected.keys() == found.keys() and len(found) > 20
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")
