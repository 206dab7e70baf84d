"""HierarchicalPyramid: the contract of an adapter, on four families of encoders."""

import math

import pytest
import torch

from backbones import HierarchicalPyramid
from engine.errors import UserError

FAMILIES = {
    "resnet18": [64, 128, 256, 512],
    "swin_tiny_patch4_window7_224": [96, 192, 384, 768],
    "fastvit_mci0": [64, 128, 256, 512],
    "mobilenetv2_100": [24, 32, 96, 320],
}


@pytest.fixture(params=FAMILIES)
def case(request, write):
    folder, stored = write({"name": request.param, "kwargs": {}})
    return HierarchicalPyramid(str(folder)), stored, FAMILIES[request.param]


def test_contract(case):
    pyramid, stored, channels = case
    assert pyramid.out_channels == channels
    assert pyramid.out_strides == [4, 8, 16, 32]
    pyramid.eval()
    stored.eval()
    with torch.no_grad():
        # native maps, at a size that is not the pretraining one
        image = torch.randn(1, 3, 96, 64)
        timms = stored.forward_intermediates(image, intermediates_only=True)[-4:]
        for own, theirs, width in zip(pyramid(image), timms, channels, strict=True):
            assert own.shape[1] == width
            torch.testing.assert_close(own, theirs)
        # any size
        maps = pyramid(torch.randn(1, 3, 70, 101))
        assert [m.shape[-2:] for m in maps] == [(math.ceil(70 / s), math.ceil(101 / s)) for s in (4, 8, 16, 32)]
    # weights survive mmengine's initialisation
    with torch.no_grad():
        for parameter in pyramid.parameters():
            parameter.zero_()
    pyramid.init_weights()
    file = stored.state_dict()
    assert all(torch.equal(value, file[key]) for key, value in pyramid.encoder.state_dict().items())
    # every parameter is trained
    pyramid.train()
    sum((m * torch.randn_like(m)).sum() for m in pyramid(torch.randn(2, 3, 64, 64))).backward()
    assert [name for name, parameter in pyramid.named_parameters() if parameter.grad is None] == []
    # every parameter has a layer
    ids, last = pyramid.layer_ids()
    assert set(ids) == {name for name, _ in pyramid.named_parameters()}
    assert set(ids.values()) == set(range(last))


def test_registered_for_both_suites(write):
    import mmdet.registry
    import mmseg.registry

    folder, _ = write({"name": "resnet18", "kwargs": {}})
    for registry in (mmdet.registry.MODELS, mmseg.registry.MODELS):
        built = registry.build({"type": "HierarchicalPyramid", "checkpoint": str(folder), "drop_path_rate": 0.1})
        assert type(built) is HierarchicalPyramid


def test_wrong_encoders(write):
    with pytest.raises(UserError, match="use ViTPyramid"):
        HierarchicalPyramid(str(write()[0]))
    for name, words in (("shvit_s1", "3 stages"), ("nest_tiny", "224 x 224 pixels only")):
        with pytest.raises(UserError, match=words):
            HierarchicalPyramid(str(write({"name": name, "kwargs": {}}, name)[0]))
