"""Tokens, the compact vocabulary and the text tower."""

import numpy as np
import open_clip
import pytest
import torch

from backbones.text import END, START, TextTower, compact_vocabulary, tokenize, valid_tokens
from engine.errors import UserError
from tests.pretrain.samples import TEXT

CAPTION = "A small red Sphere, left of the cube!"


def test_rows_equal_open_clips():
    for context in (77, 6):
        expected = open_clip.tokenize([CAPTION], context_length=context)[0].numpy()
        np.testing.assert_array_equal(tokenize(CAPTION, context), expected)


def test_compact_vocabulary_keeps_tokens_apart_and_maps_the_rest_to_unknown():
    vocabulary = compact_vocabulary(["red cube", "blue cube"])
    assert len(vocabulary) == 5  # three words, start, end
    tower = TextTower(**TEXT, vocabulary=vocabulary)
    tokens = torch.from_numpy(tokenize("red blue cube green yellow", 16))[None]
    ids = tower.own_ids(tokens)[0].tolist()
    assert len(set(ids[:4] + [ids[6]])) == 5 and max(ids[:4] + [ids[6]]) < 5
    assert ids[4] == ids[5] == 5 and tower.mask_id == 6 and tower.size == 7


def test_full_vocabulary_adds_one_mask_token():
    tower = TextTower(**TEXT, vocabulary="clip")
    assert tower.mask_id == 49408 and tower.token_embedding.num_embeddings == 49409


def test_tower_is_causal_and_reads_the_end_token(text):
    torch.manual_seed(0)
    tower = TextTower(**text).eval()
    a = torch.from_numpy(tokenize("red cube on the floor", 16))[None]
    b = a.clone()
    b[0, 4:6] = a[0, 1:3]
    features_a, features_b = (tower.token_features(tower.own_ids(x)) for x in (a, b))
    torch.testing.assert_close(features_a[:, :4], features_b[:, :4])
    assert not torch.allclose(features_a[:, 4:7], features_b[:, 4:7])
    end = int((a[0] == END).nonzero())
    torch.testing.assert_close(tower(a), tower.projection(features_a[:, end]))
    assert a[0, 0] == START and valid_tokens(a)[0].sum() == end + 1


def test_tower_can_be_built_again_from_its_meta(text):
    tower = TextTower(**text)
    meta = tower.meta()
    again = TextTower(embed_dim=meta["embed_dim"], vocabulary=meta["vocabulary"], **meta["kwargs"])
    again.load_state_dict(tower.state_dict())


def test_unresolved_vocabulary_is_a_sentence():
    with pytest.raises(UserError, match="pretrain.fill"):
        TextTower(**TEXT, vocabulary="data")


def test_edited_captions_bring_the_synonyms_into_the_vocabulary(configure):
    import pretrain
    from backbones.text import token_ids, tokenizer
    from pretrain.data.eda import synonyms

    sizes = {}
    for method in ("clip", "declip"):
        cfg = configure(f"pretrain/configs/{method}.py", 1)
        pretrain.fill(cfg)
        sizes[method] = cfg.model.text.vocabulary
    assert {*sizes["clip"]} < {*sizes["declip"]}
    known = {tokenizer().encoder[token] for token in sizes["declip"]}
    assert all(known.issuperset(token_ids(word)) for word in synonyms())
    assert [tokenizer().encoder[t] for t in sizes["declip"]] == sorted(known)
