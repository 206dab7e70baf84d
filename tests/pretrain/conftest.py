"""Fixtures of the pretraining tests."""

import numpy as np
import pytest
import torch

import pretrain  # noqa: F401  registers methods and data sets


@pytest.fixture
def batch(shards):
    from pretrain.data.dataset import ImageTextShards, pretrain_collate

    data = ImageTextShards(str(shards), 32, captions="aligned", context=16)
    np.random.seed(0)
    inputs = pretrain_collate([data[i] for i in range(6)])["inputs"]
    return {**inputs, "label": torch.arange(6) % 3}
