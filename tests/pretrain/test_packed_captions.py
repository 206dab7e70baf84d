"""Captions without their padding: the losses and gradients of the padded computation, in float64, from less work."""

import pytest
import torch

from backbones.text import END, START, TextTower
from pretrain.data.dataset import pretrain_collate
from pretrain.methods.clip import CLIP
from pretrain.methods.declip import DeCLIP
from pretrain.methods.maskclip import MaskCLIP
from pretrain.parts.mlm import choose_words, most_words
from tests.pretrain.samples import ENCODER, TEXT

METHODS = {
    "clip": (CLIP, {}),
    "maskclip": (MaskCLIP, dict(decoder_heads=3, quantizer=dict(hidden=16, bottleneck=8, codes=12))),
    "maskclip, other words": (MaskCLIP, dict(distill_weight=0, mlm=dict(depth=1, ratio=0.7, corruption=(0, 1, 0)))),
    "maskclip, words seen at once": (MaskCLIP, dict(distill_weight=0, mlm=dict(causal=False))),
    "declip": (DeCLIP, dict(bank=8, projector=16, bottleneck=8)),
}  # fmt: skip


def caption(words):
    row = torch.zeros(16, dtype=torch.long)
    row[: words + 2] = torch.tensor([START, *range(400, 400 + words), END])
    return row


@pytest.fixture
def inputs():
    items = [dict(tokens=caption(n), tokens_edited=caption(m)) for n, m in ((3, 1), (14, 2), (0, 5), (1, 3), (2, 2))]
    images = {name: torch.randn(5, 3, 32, 32, dtype=torch.float64) for name in ("image", "image_1", "image_2")}
    return {**pretrain_collate(items, packed=True)["inputs"], **images}


def after_backward(model, inputs):
    torch.manual_seed(3)
    losses = model.losses(inputs)
    sum(value for name, value in losses.items() if "loss" in name).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return {**{name: value.detach() for name, value in losses.items()}, **found}


@pytest.mark.parametrize("name", METHODS)
def test_losses_and_gradients_are_those_of_padded_captions(name, inputs, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    kind, settings = METHODS[name]
    torch.manual_seed(0)
    model = kind(encoder=ENCODER, text={**TEXT, "vocabulary": "clip", "act": "quick_gelu"}, **settings).double()
    bank = model.bank.state_dict() if name == "declip" else None
    bank = bank and {key: value.clone() for key, value in bank.items()}
    found = after_backward(model, inputs)
    if bank:
        model.bank.load_state_dict(bank)
    if name.startswith("maskclip") and model.centre is not None:
        model.centre.value.zero_()
    expected = after_backward(model, {key: value for key, value in inputs.items() if not key.startswith("valid")})
    assert found.keys() == expected.keys() and "text.blocks.1.attn.qkv.weight" in found
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-10, atol=1e-13, msg=lambda text, n=key: f"{n}: {text}")


def test_no_layer_sees_padding_and_the_classifier_few_words(inputs):
    assert inputs["valid_tokens"].tolist() == [16 * b + t for b, n in enumerate((5, 16, 2, 3, 4)) for t in range(n)]
    seen = {}

    def note(name):
        return lambda layer, args, output: seen.setdefault(name, []).append(args[0].shape[0])

    torch.manual_seed(0)
    model = MaskCLIP(encoder=ENCODER, text={**TEXT, "vocabulary": "clip"}, distill_weight=0).double()
    watched = {"first": model.text.blocks[0].mlp, "last": model.text.blocks[-1].mlp, "named": model.mlm.classifier}
    for name, layer in {**watched, "decoder": model.mlm.blocks[-1].mlp}.items():
        layer.register_forward_hook(note(name))
    model.losses(inputs)
    # both captions; of the full ones the ends alone; of the masked ones about the words to be named, not 5 x 3 of them
    assert seen == {"first": [60], "last": [35], "named": [9], "decoder": [9]}


def test_enough_places_for_every_chosen_word():
    for ratio in (0.05, 0.15, 0.2, 0.5, 0.9, 1.0):
        for counts in ([0], [1] * 7, [2, 3, 3], [17] * 5, [0, 1, 2, 13, 40]):
            words = torch.zeros(len(counts), max(counts) + 2, dtype=torch.bool)
            for row, n in zip(words, counts, strict=True):
                row[1 : n + 1] = True
            chosen = int((choose_words(words, ratio).weight > 0).sum())
            assert chosen <= most_words(sum(counts), len(counts), ratio) <= sum(counts)


def test_a_tower_that_is_not_causal_keeps_its_padding():
    """MobileCLIP-S attends to padding."""
    torch.manual_seed(0)
    tower = TextTower(**TEXT, causal=False)
    tokens = torch.stack([caption(3), caption(14)])
    assert torch.equal(tower(tokens, torch.arange(5)), tower(tokens))
