"""Similarity maps: planted maps against masks, the features of places against the encoder's own head by hand."""

import json

import pytest
import torch
from torch.nn.functional import normalize

from analysis import similarity_maps
from analysis.localisation import ask, pointing_and_iou, prompts
from analysis.pictures import Picture, load_pictures
from analysis.similarity_maps import place_features
from backbones.text import tokenize
from engine.errors import UserError
from tests.analysis.test_attention import SMALL, randomised


def square(size, top, left, side):
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_a_map_that_is_the_mask_and_one_that_is_its_opposite():
    masks = torch.stack([square(8, 2, 3, 4), square(8, 0, 0, 2), square(8, 0, 0, 2)])
    maps = torch.stack([masks[0].float(), -masks[1].float(), torch.ones(8, 8)])
    hit, iou = pointing_and_iou(maps, masks)
    assert hit.tolist() == [True, False, False] and iou.tolist() == [1, 0, 0]


@pytest.mark.parametrize("least, spread", [(0, 1), (5, 0.1), (-3, 2)])
def test_half_of_the_mask_by_hand(least, spread):
    """A map of 2 x 2 for 8 x 8 pixels: one high cell, resized bilinearly, is above one half on some pixels."""
    found = least + spread * torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    row = [1, 1, 0.875, 0.625, 0.375, 0.125, 0, 0]  # how much of the first cell each pixel shows
    above = torch.tensor([[a * b > 0.5 for b in row] for a in row])
    mask = square(8, 0, 0, 5)
    hit, iou = pointing_and_iou(found, mask[None])
    assert hit.item() and iou.item() == pytest.approx((above & mask).sum().item() / (above | mask).sum().item())


def test_questions_and_prompts():
    picture = Picture("a", torch.zeros(3, 8, 8), {"cube": square(8, 0, 0, 2), "cone": square(8, 4, 4, 2)})
    questions = ask([picture, Picture("b", torch.zeros(3, 8, 8)), picture])
    assert questions == [(0, "cone"), (0, "cube"), (2, "cone"), (2, "cube")]
    assert prompts(questions[:2], "a {} here") == ["a cone here", "a cube here"]
    assert prompts(questions[:1], "{0} {} {x} {") == ["{0} cone {x} {"]  # a text, no format
    with pytest.raises(UserError, match="has no {} where the category goes"):
        prompts(questions, "a cube")
    with pytest.raises(UserError, match="these images have none: name a COCO file with --masks"):
        ask([Picture("b", torch.zeros(3, 8, 8))])


SWIN = ("swin_tiny_patch4_window7_224",
        {"img_size": 64, "embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 2)})  # fmt: skip


@pytest.mark.parametrize("name, kwargs, side", [
    ("vit_tiny_patch16_224", SMALL, 48), ("vit_tiny_patch16_224", {**SMALL, "global_pool": "avg"}, 32),
    ("beit_base_patch16_224", SMALL, 32), (*SWIN, 64), ("mobilenetv2_050", {}, 64),
])  # fmt: skip
def test_places_are_in_the_space_of_the_pooled_feature(name, kwargs, side):
    encoder, image = randomised(name, kwargs), torch.randn(2, 3, side, side)
    with torch.no_grad():
        places, pooled = place_features(encoder, image), encoder(image)
        found = encoder.forward_features(image)
    assert places.shape[-1] == pooled.shape[-1] and len(places) == 2
    if found.ndim == 3:
        rows = side // 8
        expected = encoder.fc_norm(found[:, 1:]).view(2, rows, rows, -1)
        torch.testing.assert_close(places, expected)
    else:  # a mean over places, with nothing after it that is not linear
        torch.testing.assert_close(places.mean(dim=(1, 2)), pooled, rtol=1e-4, atol=1e-4)


def test_the_value_path_by_hand():
    """Last block: x + proj(v(norm(x))), then the MLP; blocks before it as they are."""
    encoder, image = randomised("vit_tiny_patch16_224", SMALL), torch.randn(1, 3, 32, 32)
    inputs = []
    encoder.blocks[1].register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with torch.no_grad():
        found = place_features(encoder, image, value_path=True)
        x, block = inputs[0], encoder.blocks[1]
        value = block.attn.qkv(block.norm1(x))[..., 48:]
        x = x + block.attn.proj(value)
        x = x + block.mlp(block.norm2(x))
        expected = encoder.norm(x)[:, 1:].view(1, 4, 4, 24)
        mixed = place_features(encoder, image)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert (found - mixed).abs().max() > 0.1


@pytest.mark.parametrize("value_path", [False, True])
def test_a_checkpoint(clip, pictures, value_path):
    folder, model = clip
    found = similarity_maps.run(str(folder), *pictures, count=5, value_path=value_path)
    assert found.settings["questions"] == 6 and found.settings["value_path"] is value_path
    assert found.scalars["mask_share"].value == pytest.approx(100 * 64 / 1024)
    assert -1 <= found.values["lowest"] <= found.values["highest"] <= 1
    if not value_path:

        def similarity(image, text):
            tokens = model.encoder.forward_features(image[None])[0, 1:]
            return (normalize(model.image_projection(tokens), dim=-1) @ text).view(4, 4)

        expected = by_hand(model, pictures, similarity)
        assert found.scalars["pointing_game"].value == pytest.approx(expected[0], abs=1e-4)
        assert found.scalars["mean_iou"].value == pytest.approx(expected[1], abs=1e-4)


def by_hand(model, pictures, map_of):
    """Shares in % of the questions: maps that peak in the mask, and their overlap with it; map_of(image, text)."""
    hits, overlaps = [], []
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.1]).view(3, 1, 1)
    for picture in load_pictures(pictures[0], 5, 32, pictures[1]):
        for category, mask in picture.masks.items():
            words = torch.from_numpy(tokenize(f"a photo of a {category}", 16))[None]
            with torch.no_grad():
                text = normalize(model.text(words), dim=-1)[0]
            found = map_of((picture.pixels / 255 - mean) / std, text).detach()
            fine = torch.nn.functional.interpolate(found[None, None], (32, 32), mode="bilinear")[0, 0]
            hits.append(bool(mask.flatten()[fine.flatten().argmax()]))
            above = (fine - fine.min()) / (fine.max() - fine.min()) > 0.5
            overlaps.append(float((above & mask).sum() / (above | mask).sum()))
    return 100 * sum(hits) / len(hits), 100 * sum(overlaps) / len(overlaps)


def test_what_is_lacking_is_said(clip, mae, pictures, tmp_path):
    with pytest.raises(UserError, match=r"\(mae\) has no text tower; use one of a contrastive method"):
        similarity_maps.run(str(mae), *pictures)
    with pytest.raises(UserError, match="these images have none: name a COCO file"):
        similarity_maps.run(str(clip[0]), pictures[0])
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(UserError, match=r"does not list the image 0.png: --masks must belong to --images"):
        similarity_maps.run(str(clip[0]), pictures[0], str(other))
    other.write_text("{")
    with pytest.raises(UserError, match="is no COCO file of instances"):
        similarity_maps.run(str(clip[0]), pictures[0], str(other))
    with pytest.raises(UserError, match="cannot be read .*check --masks"):
        similarity_maps.run(str(clip[0]), pictures[0], str(tmp_path / "absent.json"))
