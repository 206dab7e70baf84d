"""Two processes and an uneven number of batches measure what one process measures, to the last digit, in every task."""

import json
import os
from pathlib import Path

import pytest
from mmengine.runner import Runner

from engine import testing
from engine.testing import WholeBatches, in_order
from study.local import import_everything
from tests.engine.processes import forked
from tests.engine.ranks import ended, on_ranks


def measured(monkeypatch, cfg, file):
    """Body of a process: `run`, with what the test measured written to `file`, all digits of it."""
    test = Runner.test

    def noted(runner):
        found = test(runner)
        if os.environ.get("RANK", "0") == "0":
            file.write_text(json.dumps({name: repr(value) for name, value in found.items()}))
        return found

    monkeypatch.setattr(Runner, "test", noted)
    from study.run import run

    run(cfg(), "test", save_predictions=True)


def predicted(folder: Path) -> dict[str, bytes]:
    """Every file of a run's predictions and panels."""
    return {str(path.relative_to(folder)): path.read_bytes() for part in ("predictions", "samples")
            for path in (folder / part).rglob("*") if path.is_file()}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("config", ["seg_configs/upernet.py", "depth/configs/depth.py", "det_configs/mask_rcnn.py"])
def test_two_processes_measure_what_one_does(configure, checkpoint, monkeypatch, tmp_path, config):
    import_everything()  # once, before the forks
    encoder = checkpoint("mae")
    options = {"test_dataloader.batch_size": 3, "global_batch_size": 4}  # 8 images: batches of 3, 3 and 2

    def cfg(folder, launcher="none"):
        return configure(config, 1, tmp_path / folder, checkpoint=str(encoder), options=options, launcher=launcher)

    assert ended([forked(lambda: measured(monkeypatch, lambda: cfg("one"), tmp_path / "one.json"))]) == [0]
    # The weights of the second run must be those of the first: one update by two processes rounds differently.
    (tmp_path / "weights").symlink_to(tmp_path / "one" / "model.safetensors")

    def ranks(rank):
        from safetensors.torch import load_file

        from engine.loop import AddressedLoop
        from engine.resume import bare

        def untrained(loop):
            bare(loop.runner.model).load_state_dict(load_file(tmp_path / "weights"))
            loop.runner.call_hook("before_train")
            return loop.runner.model

        monkeypatch.setattr(AddressedLoop, "run", untrained)
        measured(monkeypatch, lambda: cfg("two", "pytorch"), tmp_path / "two.json")

    assert ended(on_ranks(ranks)) == [0, 0]
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one == two and len(one) >= 3
    files = [predicted(tmp_path / name) for name in ("one", "two")]
    assert files[0] == files[1] and len(files[0]) >= 8, {k for k in files[0] if files[0][k] != files[1].get(k)}


@pytest.mark.parametrize("size, batch, processes", [(8, 3, 2), (7, 2, 3), (2, 4, 3), (9, 1, 4), (12, 3, 2)])
def test_results_stand_in_the_order_of_the_data_whoever_found_them(monkeypatch, size, batch, processes):
    shares, batches = [], []
    for rank in range(processes):
        monkeypatch.setattr(testing, "get_dist_info", lambda rank=rank: (rank, processes))
        sampler = WholeBatches(range(size), batch)
        shares.append([*sampler])
        assert len(sampler) == len(shares[-1])
        batches += [tuple(shares[-1][k : k + batch]) for k in range(0, len(shares[-1]), batch)]
    assert {*batches} == {tuple(range(k, min(k + batch, size))) for k in range(0, size, batch)}
    monkeypatch.setattr(testing, "all_gather_object", lambda own: shares)
    assert in_order(shares[0], size, batch) == [*range(size)]

    class Metric:
        """mmengine's way to collect: one result of each in turn, cut at the size."""

    metrics = []
    for rank in range(processes):
        monkeypatch.setattr(testing, "get_dist_info", lambda rank=rank: (rank, processes))
        evaluator = testing.OrderedEvaluator([], batch)
        metric = Metric()
        metric.results, metric.evaluate = shares[rank], lambda size: {}
        evaluator.metrics = [metric]
        evaluator.evaluate(size)
        metrics.append(metric.results)
    assert len({len(results) for results in metrics}) == 1
    assert [one for turn in zip(*metrics, strict=True) for one in turn][:size] == [*range(size)]
