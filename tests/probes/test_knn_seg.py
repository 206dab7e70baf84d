"""k-NN segmentation: shares, bank and vote against plain loops; the task from a checkpoint to its record."""

import math

import numpy as np
import pytest
import torch

from engine.errors import UserError
from probes import knn_seg
from probes.features import Rows
from probes.knn_seg import class_shares, remember, scores, vote
from study.configure import load_config
from study.run import run_test

CONFIG = "probes/configs/knn_seg.py"


def test_a_cells_share_of_each_class_by_loops():
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2, 255], (7, 10)).astype(np.uint8)  # the last cells are cut: 3 + 3 + 1, 3 + 3 + 3 + 1
    labels[:3, :3] = 255
    found = class_shares(labels, (3, 4), 3, 3)
    for i in range(3):
        for j in range(4):
            pixels = [labels[y, x] for y in range(3 * i, min(7, 3 * i + 3)) for x in range(3 * j, min(10, 3 * j + 3))]
            counted = [p for p in pixels if p != 255]
            row = found[4 * i + j]
            if not counted:
                assert np.isnan(row).all()
                continue
            assert row == pytest.approx([counted.count(k) / len(counted) for k in range(3)])
    assert np.isnan(found[0]).all() and np.isfinite(found[1:]).any(axis=1).any()


def test_the_vote_by_loops(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    bank, queries = (torch.nn.functional.normalize(torch.randn(n, 5, generator=generator), dim=1) for n in (9, 4))
    shares = torch.rand(9, 3, generator=generator)
    for memory in (1, 2**20):  # however large the blocks
        monkeypatch.setattr(knn_seg, "MEMORY", memory)
        found = vote(queries, bank, shares, neighbours=4, temperature=0.1)
        for q in range(4):
            cosines = [sum(float(a) * float(b) for a, b in zip(queries[q], bank[m], strict=True)) for m in range(9)]
            nearest = sorted(range(9), key=lambda m: -cosines[m])[:4]
            weights = [math.exp(cosines[m] / 0.1) for m in nearest]
            wanted = [sum(w * float(shares[m, k]) for w, m in zip(weights, nearest, strict=True)) / sum(weights)
                      for k in range(3)]  # fmt: skip
            assert found[q].tolist() == pytest.approx(wanted, rel=1e-5)


def test_the_bank_holds_labelled_patches_and_as_many_of_each_image():
    generator = torch.Generator().manual_seed(0)
    maps = Rows([torch.randn(3, 4, 2, 3, generator=generator)])
    labels = np.random.default_rng(0).integers(0, 2, (3, 4, 6)).astype(np.uint8)
    labels[1, :2] = 255  # the upper three patches of the second image
    bank, shares = remember(maps, labels, 2, 2, most=100)
    assert bank.shape == (15, 4) and shares.shape == (15, 2)
    wanted = maps.take([1])[0, :, 1, 0]
    torch.testing.assert_close(bank[6], wanted / wanted.norm())
    assert shares[6].tolist() == pytest.approx([(labels[1, 2:, :2] == k).mean() for k in (0, 1)])
    few, _ = remember(maps, labels, 2, 2, most=6)
    assert len(few) == 6 and torch.equal(few, remember(maps, labels, 2, 2, most=6)[0])
    assert all((bank == row).all(dim=1).any() for row in few)
    (first, *_) = scores(maps, bank, shares, 1, 0.1)
    assert first.shape == (2, 2, 3)
    torch.testing.assert_close(first.flatten(1).T, shares[:6])  # each patch is its own nearest


def test_from_a_checkpoint_to_a_record(mae, overlay, tmp_path):
    words = dict(checkpoint=str(mae), data=str(overlay(CONFIG)), work_dir=str(tmp_path / "out"))
    record = run_test(load_config(CONFIG, options={"neighbours": 5}, **words), "python tools/test.py x")
    assert (record["task"], record["head"]) == ("knn_seg", "5-NN, taps: last")
    assert record["settings"]["train_images"] == 16 and record["settings"]["lr"] is None
    assert 0 < record["metrics"]["mIoU"]["low"] <= record["metrics"]["mIoU"]["high"] < 100
    words["work_dir"] = str(tmp_path / "other")
    with pytest.raises(UserError, match="5000 neighbours needs as many labelled patches, not 1024: lower neighbours"):
        run_test(load_config(CONFIG, options={"neighbours": 5000}, **words), "x")
    with pytest.raises(UserError, match="neighbours is 0: give a whole number from 1 on"):
        load_config(CONFIG, options={"neighbours": 0}, **words)
