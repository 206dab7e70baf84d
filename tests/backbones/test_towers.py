"""Embeddings of a checkpoint against the model that wrote it."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from backbones.text import tokenize
from backbones.towers import Features, Towers, to_square
from datasets.images import read_rgb
from engine.errors import UserError


def test_images_as_the_model_sees_them(clip):
    folder, model = clip
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    found = Towers(folder, batch=2).embed_images(images)
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.1])
    inputs = ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = normalize(model.image_projection(model.encoder(inputs)), dim=-1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.shape == (5, 16)


def test_texts_and_equal_texts(clip):
    folder, model = clip
    texts = ["a red cube", "a photo of a sphere", "a red cube", "blue " * 40]
    found = Towers(folder, batch=2).embed_texts(texts)
    with torch.no_grad():
        expected = normalize(model.text(torch.from_numpy(np.stack([tokenize(t, 16) for t in texts]))), dim=-1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])


def test_what_is_not_finite_is_refused(clip, mae):
    images = np.zeros((3, 32, 32, 3), np.uint8)
    towers, features = Towers(clip[0]), Features(mae)
    for part, parameter in ((towers, towers.model.projection.weight), (features, features.model.norm.bias)):
        with torch.no_grad():
            parameter.view(-1)[3] = torch.nan
        with pytest.raises(UserError, match="checkpoint gives features that are not finite"):
            part.embed_images(images)
    with torch.no_grad():
        next(towers.model.text.parameters()).fill_(torch.inf)
    with pytest.raises(UserError, match="the clip checkpoint gives features that are not finite"):
        towers.embed_texts(["a red cube"])


def test_an_image_size_that_the_encoder_does_not_take_is_one_sentence(clip, mae):
    for part in (Towers(clip[0]), Features(mae)):
        part.size = 31  # as a damaged checkpoint.json has it; patches are of 8
        with pytest.raises(UserError, match=r"says images of 31 pixels a side, which its encoder does not take"):
            part.embed_images(np.zeros((1, 32, 32, 3), np.uint8))


def test_nothing_to_embed(clip):
    towers = Towers(clip[0])
    assert towers.embed_texts([]).shape == towers.embed_images([]).shape == (0, 16)


def test_a_checkpoint_without_text_tower_is_refused(mae):
    with pytest.raises(UserError, match="has no text tower; use one of a contrastive method"):
        Towers(mae)


def test_short_side_and_centre():
    image = np.random.default_rng(1).integers(0, 256, (40, 64, 3), np.uint8)
    cut = to_square(image, 40)
    assert np.array_equal(cut.permute(1, 2, 0).numpy(), image[:, 12:52])
    smooth = np.kron(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], np.ones((48, 1, 3), np.uint8))
    peer = np.asarray(Image.fromarray(smooth).resize((32, 24), Image.Resampling.BICUBIC))[:, 4:28]
    assert np.abs(to_square(smooth, 24).permute(1, 2, 0).numpy().astype(int) - peer).max() <= 1


def test_a_damaged_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG1234")
    for name in ("a.png", "absent.png"):
        with pytest.raises(UserError, match=f"image .*{name} cannot be read"):
            read_rgb(tmp_path / name)
