"""Grad-CAM of a linear model by hand, and of small encoders against gradients by differences."""

import pytest
import torch
from torch import nn

from analysis import grad_cam
from analysis.grad_cam import activations
from analysis.grad_cam import grad_cam as cam
from engine.errors import UserError
from tests.analysis.test_attention import SMALL, randomised
from tests.analysis.test_similarity_maps import by_hand


class Linear(nn.Module):
    """Two channels of 2 x 2 places straight from the image; the pooled feature is their mean."""

    feature_info = [{"num_chs": 2, "reduction": 1, "module": "x"}]
    pretrained_cfg = {"input_size": (3, 2, 2)}

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))  # says the device and the type of images

    def forward_intermediates(self, images, intermediates_only):
        """What makes it an encoder with features: maps of two strides, so no ViT."""
        return [images[:, :2], images[:, :2, ::2, ::2]]

    def forward_features(self, images):
        return images[:, :2]

    def forward_head(self, found, pre_logits):
        return found.mean(dim=(2, 3))


def test_a_linear_model_by_hand():
    """Pooled p = (3, 4), y = p . e / |p| with e = (1, 0): dy/dp = e / 5 - (p . e) p / 125 = (16, -12) / 125; each of
    the four places gets a quarter, so alpha = (4, -3) / 125 and the map is ReLU(4 U_0 - 3 U_1) / 125."""
    image = torch.zeros(1, 3, 2, 2)
    image[0, 0] = torch.tensor([[12.0, 0.0], [0.0, 0.0]])
    image[0, 1] = torch.tensor([[0.0, 16.0], [0.0, 0.0]])
    found = cam(Linear(), nn.Identity(), image, torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([[[48 / 125, 0.0], [0.0, 0.0]]]))


def test_images_of_a_batch_do_not_touch_each_other():
    encoder, projection = randomised("vit_tiny_patch16_224", SMALL).requires_grad_(False), nn.Linear(24, 8)
    torch.manual_seed(0)
    images, texts = torch.randn(3, 3, 32, 32), nn.functional.normalize(torch.randn(3, 8), dim=-1)
    together = cam(encoder, projection, images, texts)
    alone = torch.cat([cam(encoder, projection, images[k : k + 1], texts[k : k + 1]) for k in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    assert together.shape == (3, 4, 4) and (together >= 0).all() and together.max() > 0


@pytest.mark.parametrize("name, kwargs, shape", [
    ("vit_tiny_patch16_224", SMALL, (24, 4, 4)), ("beit_base_patch16_224", SMALL, (24, 4, 4)),
    ("swin_tiny_patch4_window7_224",
     {"img_size": 64, "embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 2)}, (192, 2, 2)),
])  # fmt: skip
def test_weights_against_differences(name, kwargs, shape):
    """The gradient along one channel, in all places at once, is the number of places times its weight."""
    encoder = randomised(name, kwargs).double().requires_grad_(False)
    side = 8 * shape[1] if shape[1] == 4 else 64
    torch.manual_seed(0)
    image, text = torch.randn(1, 3, side, side, dtype=torch.float64), torch.randn(encoder.num_features).double()
    projection = nn.Identity()
    seen, pooled, to_map = activations(encoder, image.clone().requires_grad_(True))
    assert to_map(seen).shape == (1, *shape)
    gradient = to_map(torch.autograd.grad((nn.functional.normalize(pooled, dim=-1) * text).sum(), seen)[0])
    weights, values = gradient.mean(dim=(2, 3))[0], to_map(seen.detach())[0]
    torch.testing.assert_close(cam(encoder, projection, image, text[None])[0],
                               (weights[:, None, None] * values).sum(dim=0).relu())  # fmt: skip
    if seen.ndim == 3:
        step, channel, patches = 1e-5, 5, shape[1] * shape[2]

        def similarity(shift):
            def move(module, inputs, output):
                moved = output.clone()
                moved[:, 1:, channel] += shift
                return moved

            handle = encoder.blocks[-1].norm1.register_forward_hook(move)
            with torch.no_grad():
                result = (nn.functional.normalize(encoder(image), dim=-1) * text).sum().item()
            handle.remove()
            return result

        slope = (similarity(step) - similarity(-step)) / (2 * step)
        assert slope / patches == pytest.approx(float(weights[channel]), rel=1e-5)


def test_a_checkpoint_and_what_is_lacking(clip, mae, pictures, monkeypatch):
    model = clip[1]

    def alone(image, text):
        return cam(model.encoder, model.image_projection, image[None], text[None])[0]

    monkeypatch.setattr(grad_cam, "BATCH", 4)
    found = grad_cam.run(str(clip[0]), *pictures, count=5)
    assert found.settings["questions"] == 6 and found.settings["grid"] == [4, 4]
    pointing, overlap = by_hand(model, pictures, alone)
    assert found.scalars["pointing_game"].value == pytest.approx(pointing, abs=1e-4)
    assert found.scalars["mean_iou"].value == pytest.approx(overlap, abs=0.5)  # sums in another order, of other batches
    assert 0 <= found.scalars["empty"].value <= 100 and found.figure == grad_cam.run(str(clip[0]), *pictures).figure
    with pytest.raises(UserError, match=r"\(mae\) has no text tower"):
        grad_cam.run(str(mae), *pictures)
