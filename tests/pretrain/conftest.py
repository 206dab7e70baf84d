"""Fixtures of the pretraining tests."""

from functools import partial

import numpy as np
import pytest
import torch

import pretrain  # noqa: F401  registers methods and data sets
from tests.pretrain.cae_samples import make_cae, write_tokenizer


@pytest.fixture
def batch(shards):
    from pretrain.data.dataset import ImageTextShards, pretrain_collate

    data = ImageTextShards(str(shards), 32, captions="aligned", context=16)
    np.random.seed(0)
    inputs = pretrain_collate([data[i] for i in range(6)])["inputs"]
    return {**inputs, "label": torch.arange(6) % 3}


@pytest.fixture(scope="module")
def dvae(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def build_cae(dvae):
    return partial(make_cae, tokenizer=dvae)
