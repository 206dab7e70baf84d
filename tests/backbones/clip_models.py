"""Small open_clip models, and the features of what was converted from them."""

import torch
from open_clip.model import CLIP
from torch.testing import assert_close

from backbones import build_encoder
from backbones.convert import check, formats
from backbones.text import TextTower

TEXT = {"context_length": 12, "vocab_size": 49408, "width": 24, "heads": 3, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 8, "patch_size": 8}
HEADS = {"heads": 4, "text_heads": 3}


def model_of(kind=CLIP, quick_gelu=True, text=(), vision=VISION):
    """A small open_clip model whose every weight is far from its start, so that none can be lost unseen."""
    torch.manual_seed(0)
    model = kind(16, vision, {**TEXT, **dict(text)}, quick_gelu=quick_gelu).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def sentences(count=3, context=12):
    """Rows of CLIP ids: start, words, end, zeros."""
    rows = torch.zeros(count, context, dtype=torch.long)
    for i, row in enumerate(rows):
        row[: i + 4] = torch.tensor([49406, *torch.randint(1, 49000, (i + 2,)), 49407])
    return rows


def features(converted, image, tokens):
    """(image, text) embeddings of the converted towers."""
    with torch.device("meta"):  # its own random start is not needed
        encoder = build_encoder(**converted.encoder).eval()
    encoder.load_state_dict(converted.state, assign=True)
    state = converted.text_state
    text = TextTower(converted.text["embed_dim"], converted.text["vocabulary"], **converted.text["kwargs"]).eval()
    text.load_state_dict({key.removeprefix("text."): v for key, v in state.items() if key.startswith("text.")})
    pooled = encoder(image)
    bias = state.get("image_projection.bias")
    return torch.nn.functional.linear(pooled, state["image_projection.weight"], bias), text(tokens)


@torch.no_grad()
def same(model, converted, size=32, atol=1e-5):
    """Require the features of `model`."""
    image, tokens = torch.randn(2, 3, size, size), sentences()
    got = features(converted, image, tokens)
    assert_close(got[0], model.encode_image(image), atol=atol, rtol=1e-5)
    assert_close(got[1], model.encode_text(tokens), atol=atol, rtol=1e-5)
    assert_close(converted.text_state["logit_scale"], model.logit_scale.detach().reshape(()))


def converted_from(state, name, **options):
    """What the format `name`, and no other, makes of `state`, all keys accounted for."""
    assert [format for format, module in formats().items() if module.matches(state)] == [name]
    converted = formats()[name].convert(state, **options)
    check(converted, state, name)
    return converted
