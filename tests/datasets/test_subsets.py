"""Nested subsets: which samples, and shards that hold them byte for byte."""

import numpy as np
import pytest

from datasets.shards import ShardReader, load_index
from datasets.subsets import nested_subsets
from engine.errors import UserError
from tests.pretrain.samples import write_shards
from tools.subsets import main


def test_each_subset_is_part_of_every_larger_one():
    found = nested_subsets(1000, [10, 300, 40, 1000])
    assert {size: len(set(chosen.tolist())) for size, chosen in found.items()} == {10: 10, 40: 40, 300: 300, 1000: 1000}
    assert set(found[10]) < set(found[40]) < set(found[300]) < set(range(1000))
    assert all((np.diff(chosen) > 0).all() for chosen in found.values())
    assert not np.array_equal(found[10], nested_subsets(1000, [10], seed=1)[10])
    assert abs(found[300].mean() - 499.5) < 60  # of all parts of the data, not of its start
    with pytest.raises(UserError, match="a subset of 1001 of 1000 samples cannot be drawn: choose from 1 to 1000"):
        nested_subsets(1000, [1001])
    with pytest.raises(UserError, match="seed -1 is not within"):
        nested_subsets(1000, [10], seed=-1)


def contents(root):
    """Key -> the bytes of image, text and JSON."""
    reader = ShardReader(load_index(root))
    keys = [key for number in range(len(reader.index.shards)) for key in reader.index.keys(number)]
    return {key: [reader.read(k, part) for part in range(3)] for k, key in enumerate(keys)}


def test_shards_of_a_subset(tmp_path, capsys):
    root = write_shards(tmp_path / "all", 25)
    main([str(root), str(tmp_path / "out"), "--sizes", "4", "12"])
    assert capsys.readouterr().out.split() == [str(tmp_path / "out/4"), str(tmp_path / "out/12")]
    whole, few, more = contents(root), contents(tmp_path / "out/4"), contents(tmp_path / "out/12")
    assert len(few) == 4 and len(more) == 12 and few.items() <= more.items() <= whole.items()
    with pytest.raises(UserError, match="out/4 is already there: delete it"):
        main([str(root), str(tmp_path / "out"), "--sizes", "5", "4"])
    with pytest.raises(UserError, match="a subset of 26 of 25 samples"):
        main([str(root), str(tmp_path / "other"), "--sizes", "4", "26"])
    assert not (tmp_path / "other").exists()
