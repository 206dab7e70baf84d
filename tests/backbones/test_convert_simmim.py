"""SimMIM's Swin, and other encoders in its layout; its ViT is in test_convert_beit.py."""

import pytest
import torch

from backbones import build_encoder
from backbones.convert import convert_source, simmim
from engine.errors import UserError

SMALL = {"img_size": 64, "patch_size": 4, "window_size": 2, "embed_dim": 24, "depths": (1, 2, 2, 1),
         "num_heads": (1, 2, 4, 8), "mlp_ratio": 2.0}  # fmt: skip
SWIN = "swin_base_patch4_window7_224"


def published(encoder, side):
    """A file of SimMIM's with a Swin of timm: downsampling ends a stage there, and begins the next one in timm; shifted
    windows have a mask each, [windows, tokens, tokens]."""
    state = {}
    for key, value in encoder.state_dict().items():
        words = key.split(".")
        if "downsample" in words:
            words[1] = str(int(words[1]) - 1)
        state["encoder." + ".".join(words)] = value
    for stage, layer in enumerate(encoder.layers):
        for k, block in enumerate(layer.blocks):
            name = f"encoder.layers.{stage}.blocks.{k}"
            state[f"{name}.attn.relative_position_index"] = block.attn.relative_position_index
            window, cells = block.window_size[0], side // 4 // 2**stage
            if k % 2 and cells > window:
                state[f"{name}.attn_mask"] = torch.zeros((cells // window) ** 2, window**2, window**2)
    state["encoder.mask_token"] = torch.randn(1, 1, 24)
    return {"model": state | {"decoder.0.weight": torch.randn(8, 4, 1, 1), "decoder.0.bias": torch.randn(8)}}


@pytest.mark.parametrize(("depths", "side"), [((1, 2, 2, 1), 64), ((2, 2, 2, 1), 128), ((1, 1, 2, 2), 128)])
def test_a_swin_is_told_by_its_shapes(tmp_path, randomised, depths, side):
    """The first stage may have no shifted block, and so no mask: another one's tells the size of the images."""
    arguments = SMALL | {"depths": depths, "img_size": side}
    model = randomised(SWIN, arguments).eval()
    torch.save(content := published(model, side), tmp_path / "simmim.pth")
    assert any(key.endswith("attn_mask") for key in content["model"])
    converted = convert_source(tmp_path / "simmim.pth")
    assert converted.encoder["kwargs"] == arguments and converted.image["size"] == side
    assert (converted.method, converted.family) == ("simmim", "mim")
    assert converted.image["mean"] == [0.485, 0.456, 0.406] and not converted.new
    used = {key for text in converted.renamed.values() for key in text.split(" + ")}
    assert used | set(converted.dropped) == set(content["model"]) and not used & set(converted.dropped)
    encoder = build_encoder(**converted.encoder).eval()
    encoder.load_state_dict(converted.state)
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        assert torch.equal(encoder.forward_features(x), model.forward_features(x))


def test_a_size_that_nothing_tells_is_asked_for(tmp_path, randomised):
    model = randomised(SWIN, SMALL | {"img_size": 128})
    content = published(model, 128)["model"]
    masks = [key for key in content if key.endswith("attn_mask")]
    torch.save({key: value for key, value in content.items() if key not in masks}, path := tmp_path / "bare.pth")
    with pytest.raises(UserError, match="nothing in the file tells the size of the Swin's images"):
        convert_source(path)
    assert convert_source(path, "simmim", size=128).image["size"] == 128
    torch.save(content | {key: torch.zeros(8, 4, 4) for key in masks}, path)
    with pytest.raises(UserError, match="8 windows, which is no square number"):
        convert_source(path)
    with pytest.raises(UserError, match="no key begins with encoder"):
        convert_source(path, "simmim", prefix="encoder.")


def test_another_encoder_is_named_by_its_user(tmp_path, randomised):
    model = randomised("resnet18", {})
    state = {f"encoder.{key}": value for key, value in model.state_dict().items()}
    state |= {"encoder.mask_token": torch.zeros(1), "decoder.0.weight": torch.ones(3)}
    torch.save({"module." + key: value for key, value in state.items()}, path := tmp_path / "mine.pth")
    with pytest.raises(UserError, match="neither SimMIM's ViT nor its Swin; say which model of timm"):
        convert_source(path)
    converted = convert_source(path, "timm", model="resnet18.a1_in1k")
    assert torch.equal(converted.state["conv1.weight"], model.state_dict()["conv1.weight"])
    assert set(converted.dropped) == {"module.encoder.mask_token", "module.decoder.0.weight"}


def test_a_mask_token_without_a_decoder_is_not_taken_for_it():
    keys = dict.fromkeys(("encoder.mask_token", "encoder.blocks.0.attn.q_bias"), torch.zeros(1))
    assert not simmim.matches(keys) and simmim.matches({**keys, "decoder.0.bias": torch.zeros(1)})
    assert not simmim.matches({**keys, "decoder.0.bias": torch.zeros(1), "feature_model.x": torch.zeros(1)})
