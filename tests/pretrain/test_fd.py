"""FD: the loss against a float64 loop, what gets gradients, and which pairs of encoders are refused."""

import numpy as np
import pytest
import torch

from engine.errors import UserError
from pretrain.methods.fd import FD
from tests.pretrain.parents import write_parent
from tests.pretrain.samples import ENCODER

TEACHER = {"name": "vit_tiny_patch16_224", "kwargs": {**ENCODER["kwargs"], "embed_dim": 36}}
BEIT = {
    "name": "beit_base_patch16_224",
    "kwargs": {
        **ENCODER["kwargs"], "use_abs_pos_emb": False, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True,
        "init_values": 0.1, "global_pool": "token",
    },
}  # fmt: skip
OWN = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "size": 32}


@pytest.fixture
def teacher(tmp_path):
    return str(write_parent(tmp_path / "teacher", "clip", TEACHER, image=OWN))


@pytest.fixture(params=[BEIT, ENCODER], ids=["relative positions", "plain"])
def model(request, teacher):
    torch.manual_seed(1)
    return FD(encoder=request.param, teacher=teacher)


def by_hand(model, pixels, scale=1.0):
    """Pixels in [0, 1] -> (loss, its gradient for the projection's weight and bias), token by token in float64."""
    mean, std = (torch.tensor(OWN[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        teacher = model.teacher.encoder.forward_features((pixels - mean) / std).double().numpy()
        seen = model.data_preprocessor.normalise(pixels)
        student = model.encoder.forward_features(seen).double().numpy()
    weight = model.projection.weight.detach().double().numpy()[:, :, 0]
    bias = model.projection.bias.detach().double().numpy()
    total, dweight, dbias = 0.0, np.zeros_like(weight), np.zeros_like(bias)
    images, tokens, width = teacher.shape
    for b in range(images):
        for n in range(tokens):
            t = teacher[b, n]
            t = (t - t.mean()) / np.sqrt(((t - t.mean()) ** 2).mean() + 1e-5)
            difference = weight @ student[b, n] + bias - t
            for d in range(width):
                e = difference[d]
                total += 0.5 * e * e / 2.0 if abs(e) < 2.0 else abs(e) - 1.0
                slope = (e / 2.0 if abs(e) < 2.0 else np.sign(e)) / (images * tokens * width)
                dweight[d] += slope * student[b, n]
                dbias[d] += slope
    return total / (images * tokens * width), dweight, dbias, tokens


def test_loss_and_gradient_by_loops(model):
    model.projection.weight.data *= 4  # errors on both sides of beta
    pixels = torch.rand(2, 3, 32, 32)
    loss = model(inputs={"image": model.data_preprocessor.normalise(pixels)})["loss_feature"]
    loss.backward()
    expected, dweight, dbias, tokens = by_hand(model, pixels)
    assert tokens == 17, "the class token and all patches"
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(model.projection.weight.grad[:, :, 0], dweight, atol=1e-7, rtol=1e-3)
    np.testing.assert_allclose(model.projection.bias.grad, dbias, atol=1e-7, rtol=1e-3)


def test_the_student_learns_and_the_teacher_does_not(model):
    before = {name: value.clone() for name, value in model.teacher.encoder.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    model(inputs={"image": torch.randn(2, 3, 32, 32)})["loss_feature"].backward()
    # the last token-wise layers of the class token and the patches; only heads that no token passes have no gradient
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "k.bias" not in n)
    optimizer.step()
    assert not model.teacher.encoder.training and not any(p.requires_grad for p in model.teacher.encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.teacher.encoder.state_dict().items())


def test_the_teacher_is_no_part_of_the_state(model, teacher):
    names = set(model.state_dict())
    assert names and all(name.startswith(("encoder.", "projection.", "data_preprocessor")) for name in names)
    other = FD(encoder=model.encoder_cfg, teacher=teacher)
    other.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(inputs={"image": images})["loss_feature"], other(inputs={"image": images})["loss_feature"])


def test_stochastic_depth_is_the_students_alone(tmp_path):
    dropped = {"name": TEACHER["name"], "kwargs": {**TEACHER["kwargs"], "drop_path_rate": 0.9}}
    folder = str(write_parent(tmp_path / "teacher", "clip", dropped))
    student = {"name": BEIT["name"], "kwargs": {**BEIT["kwargs"], "drop_path_rate": 0.9}}
    model = FD(encoder=student, teacher=folder).train()
    images = torch.randn(8, 3, 32, 32)
    assert torch.equal(model.teacher.tokens(images), model.teacher.tokens(images))
    assert not torch.equal(model.encoder.forward_features(images), model.encoder.forward_features(images))


@pytest.mark.parametrize(
    ("student", "teacher", "words"),
    [
        ({"name": "resnet18", "kwargs": {}}, TEACHER, "the student resnet18 has no blocks of tokens"),
        (ENCODER, {"name": "resnet18", "kwargs": {}}, "the teacher resnet18 in .* has no blocks of tokens"),
        (ENCODER, {"name": TEACHER["name"], "kwargs": {**TEACHER["kwargs"], "patch_size": 16}},
         "patches of 8 pixels and 1 prefix tokens, the teacher .* 16 and 1"),
        (ENCODER, {"name": TEACHER["name"], "kwargs": {**TEACHER["kwargs"], "reg_tokens": 4}},
         "8 pixels and 1 prefix tokens, the teacher .* 8 and 5"),
    ],
)  # fmt: skip
def test_tokens_that_do_not_correspond_are_refused(tmp_path, student, teacher, words):
    folder = write_parent(tmp_path / "teacher", "clip", teacher)
    with pytest.raises(UserError, match=words):
        FD(encoder=student, teacher=str(folder))


def test_no_teacher_is_refused():
    with pytest.raises(UserError, match="FD needs a teacher"):
        FD(encoder=ENCODER)
