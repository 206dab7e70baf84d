"""SimMIM's Swin, and other encoders in its layout; its ViT is in test_convert_beit.py."""

import pytest
import torch

from backbones import build_encoder
from backbones.convert import convert_source, simmim
from engine.errors import UserError

SMALL = {"img_size": 64, "window_size": 2, "embed_dim": 24, "depths": (2, 2, 2, 1), "num_heads": (1, 2, 4, 8)}
SMALL |= {"patch_size": 4, "mlp_ratio": 2.0}


def published(model, width):
    """A file of SimMIM's with a Swin of timm: downsampling ends a stage there, and begins the next one in timm."""
    state = {}
    for key, value in model.state_dict().items():
        words = key.split(".")
        if "downsample" in words:
            words[1] = str(int(words[1]) - 1)
        state["encoder." + ".".join(words)] = value
    for name, module in model.named_modules():
        for buffer in ("attn_mask", "relative_position_index"):
            if getattr(module, buffer, None) is not None:
                state[f"encoder.{name}.{buffer}"] = getattr(module, buffer)
    state["encoder.mask_token"] = torch.randn(1, 1, width)
    return {"model": state | {"decoder.0.weight": torch.randn(8, 4, 1, 1), "decoder.0.bias": torch.randn(8)}}


@pytest.mark.parametrize("window", [2, 1])
def test_a_swin_is_told_by_its_shapes(tmp_path, randomised, window):
    """Windows of one patch are never shifted, so there is no mask to read the image's size from."""
    arguments = SMALL | {"window_size": window, "img_size": 32 * window}
    model = randomised("swin_base_patch4_window7_224", arguments).eval()
    torch.save(content := published(model, 24), tmp_path / "simmim.pth")
    converted = convert_source(tmp_path / "simmim.pth")
    assert converted.encoder["kwargs"] == arguments and converted.image["size"] == 32 * window
    assert (converted.method, converted.family) == ("simmim", "mim")
    assert converted.image["mean"] == [0.485, 0.456, 0.406] and not converted.new
    used = {key for text in converted.renamed.values() for key in text.split(" + ")}
    assert used | set(converted.dropped) == set(content["model"]) and not used & set(converted.dropped)
    encoder = build_encoder(**converted.encoder).eval()
    encoder.load_state_dict(converted.state)
    x = torch.randn(2, 3, 32 * window, 32 * window)
    with torch.no_grad():
        assert torch.equal(encoder.forward_features(x), model.forward_features(x))


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
