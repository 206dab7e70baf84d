"""The key ledger: every key accounted for, every mutation named in one line."""

import json

import pytest
import torch
from torch import nn

from backbones import Ledger, Rules, load_exactly, read_ledger
from engine.errors import UserError


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def source():
    torch.manual_seed(1)
    return {k: torch.rand_like(v) if v.is_floating_point() else v + 7 for k, v in network().state_dict().items()}


def test_equal_keys_are_loaded_bit_for_bit():
    module, state = network(), source()
    ledger = load_exactly(module, state)
    assert set(ledger.loaded) == set(state)
    assert not (ledger.renamed or ledger.resized or ledger.dropped or ledger.new)
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def rename(state):
    state["0.wieght"] = state.pop("0.weight")


def remove(state):
    del state["1.running_mean"]


def add(state):
    state["extra.bias"] = torch.zeros(5)


def reshape(state):
    state["2.weight"] = state["2.weight"].t()


def retype(state):
    state["1.num_batches_tracked"] = torch.tensor(1.5)


@pytest.mark.parametrize(
    ("mutate", "words"),
    [
        (rename, ["0.wieght", "0.weight", "4x3", "renamed? (0.wieght -> 0.weight)"]),
        (remove, ["1 are missing", "1.running_mean", "float32 4"]),
        (add, ["1 keys have no place", "extra.bias", "5"]),
        (reshape, ["2.weight", "4x2", "2x4"]),
        (retype, ["1.num_batches_tracked", "int64"]),
    ],
)
def test_each_mutation_is_one_clear_line_and_changes_nothing(mutate, words):
    module, state = network(), source()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    mutate(state)
    with pytest.raises(UserError) as error:
        load_exactly(module, state, what="checkpoint X")
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("checkpoint X")
    assert all(word in message for word in words), message
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_many_keys_are_counted_not_listed():
    with pytest.raises(UserError) as error:
        load_exactly(network(), source() | {f"junk{i}": torch.zeros(1) for i in range(50)})
    assert "50 keys have no place" in str(error.value)
    assert "and 45 more" in str(error.value)


def test_rules_are_followed_and_written_down():
    module, state = network(), source()
    state["old.weight"] = state.pop("0.weight")
    state["2.weight"] = state["2.weight"].repeat(1, 2)
    state["head.weight"] = torch.ones(3)
    del state["2.bias"]
    own_bias = module[2].bias.detach().clone()
    rules = Rules(
        rename={"old.weight": "0.weight"},
        drop={r"head\..*": "the classifier is not used"},
        new={r"2\.bias": "not in the file"},
        resize={r"2\.weight": lambda value, target: value[:, : target.shape[1]]},
    )
    ledger = load_exactly(module, state, rules)
    assert ledger.renamed == {"old.weight": "0.weight"}
    assert ledger.resized == {"2.weight": ((2, 8), (2, 4))}
    assert ledger.dropped == {"head.weight": "the classifier is not used"}
    assert ledger.new == {"2.bias": "not in the file"}
    assert torch.equal(module[0].weight, state["old.weight"])
    assert torch.equal(module[2].weight, state["2.weight"][:, :4])
    assert torch.equal(module[2].bias, own_bias)
    accounted = set(ledger.loaded) | set(ledger.renamed) | set(ledger.resized) | set(ledger.dropped)
    assert accounted == set(state)
    filled = set(ledger.loaded) | set(ledger.renamed.values()) | set(ledger.resized) | set(ledger.new)
    assert filled == set(module.state_dict())
    assert "resized 2.weight: 2x8 -> 2x4" in ledger.summary()
    assert "dropped head.weight: the classifier is not used" in ledger.summary()


def test_a_pattern_must_match_the_whole_key():
    with pytest.raises(UserError, match=r"head\.weight"):
        load_exactly(network(), source() | {"head.weight": torch.ones(1)}, Rules(drop={"head": "too short"}))


def test_two_keys_for_one_place_are_refused():
    with pytest.raises(UserError, match="both go to"):
        load_exactly(network(), source() | {"copy": torch.ones(4)}, Rules(rename={"copy": "0.bias"}))


def test_hash_depends_on_what_happened_only():
    plain = load_exactly(network(), source())
    reordered = load_exactly(network(), dict(reversed(source().items())))
    state = source()
    state["x"] = state.pop("0.bias")
    renamed = load_exactly(network(), state, Rules(rename={"x": "0.bias"}))
    assert plain.hash == reordered.hash != renamed.hash
    assert len(plain.hash) == 64


def test_the_written_ledger_is_read_back_and_every_damage_is_named(tmp_path):
    ledger = Ledger(("a",), {"old": "b"}, {"c": ((1, 4), (1, 9))}, {"head.weight": "not an encoder's"}, {"d": "fresh"})
    path = tmp_path / "ledger.json"
    path.write_text(json.dumps(ledger.document()))
    assert read_ledger(path) == ledger
    for damage, sentence in (
        ({"version": 2}, "version 1"),
        ({"loaded": ["a", "z"]}, "hash does not fit"),
        ({"extra": 1}, "no key ledger"),
    ):
        path.write_text(json.dumps({**ledger.document(), **damage}))
        with pytest.raises(UserError, match=sentence):
            read_ledger(path)
    path.write_text(json.dumps(ledger.document())[:-9])
    with pytest.raises(UserError, match="is it whole"):
        read_ledger(path)
