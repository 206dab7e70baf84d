"""Records and trees that nobody should write: each file is named with its reason, none is fatal, none is silent."""

import json
import os

import pytest
from synthetic import failed, metric, record, tree

from engine.errors import UserError
from reports.records import scan, write_record
from tools.report import main


def entry(**changes):
    return json.dumps(record("upernet", "mae", 7) | changes)


def miou(value, unit="%", **changes):
    return {"mIoU": metric(0, unit, primary=True) | {"value": value} | changes}


FLOPS = '"flops": 1234000000.0'
BAD = {  # folder -> (content of result.json, a word of the reason)
    "empty": ("", "truncated or not JSON"),
    "cut": (entry()[:300], "truncated or not JSON"),
    "list": ("[]", "not a result record"),
    "foreign": ('{"schema": "other/thing", "version": 1}', "not a result record"),
    "newer": (entry(version=4), "version 4 of the record format"),
    "older": (entry(version=0), "version 0 of the record format"),
    "word for a version": (entry(version="2"), "version '2' of the record format"),
    "nan": (entry().replace(FLOPS, '"flops": NaN'), "NaN is not a finite number"),
    "infinity": (entry().replace(FLOPS, '"flops": -Infinity'), "-Infinity is not a finite number"),
    "overflow": (entry().replace(FLOPS, '"flops": 1e999'), "1e999 is not a finite number"),
    "whole number beyond a float": (entry().replace(FLOPS, '"flops": 1' + "0" * 400), "... is not a finite number"),
    "number with 5000 digits": (entry().replace(FLOPS, '"flops": 1' + "0" * 5000), "... is not a finite number"),
    "cost": (entry().replace(FLOPS, '"flops": 1e300'), "cost.flops breaks the record schema"),
    "seed": (entry(seed=10**30), "seed breaks the record schema"),
    "type": (entry(seed="7"), "seed breaks the record schema"),
    "text for a value": (entry(metrics=miou("45")), "metrics.mIoU.value breaks the record schema"),
    "truth for a value": (entry(metrics=miou(True)), "metrics.mIoU.value breaks the record schema"),
    "share for per cent": (entry(metrics=miou(0.45, "")), "mIoU is in 'no unit', but its unit is '%'"),
    "millimetres": (json.dumps(record("depth", "mae", 7, metrics={"rmse": metric(900, "mm", "down", primary=True)})),
                    "rmse is in 'mm', but its unit is 'm'"),
    "too much per cent": (entry(metrics=miou(4500.0)), "value of mIoU is 4500; in '%' it cannot be"),
    "largest float": (entry(metrics=miou(1e308)), "value of mIoU is 1e+308"),
    "end of an interval": (entry(metrics=miou(40.0, low=-500.0, high=50.0)), "low of mIoU is -500"),
    "direction": (entry(metrics=miou(40.0, direction="down")), "direction breaks the record schema"),
    "latin": (entry(method_name="caf\xe9").replace("\\u00e9", "\xe9").encode("latin-1"), "can't decode byte 0xe9"),
    "byte order mark": (b"\xef\xbb\xbf" + entry().encode(), "BOM"),
    "utf16": (entry().encode("utf-16"), "can't decode byte"),
    "zeros": (b"\0" * 4000, "truncated or not JSON"),
    "half a character": (entry(method_name="\ud800"), "surrogates not allowed"),
    "deep": ("[" * 100000, "recursion"),
    "key twice": (entry().replace('"seed": 7', '"seed": 7, "seed": 8'), "the key 'seed' occurs twice"),
    "task": (entry(task="poetry"), "task breaks the record schema"),
    "no name": (entry(method_name=""), "method_name breaks the record schema"),
    "long name": (entry(method="m" * 3000), "is too long"),
    "new\nline": ("", "truncated or not JSON"),
    "byte\udcff": ("", "truncated or not JSON"),
}  # fmt: skip


def put(root, name, content):
    folder = root / name
    folder.mkdir()
    path = folder / "result.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_named(tmp_path, name):
    content, word = BAD[name]
    put(tmp_path, name, content)
    records, (unused,) = scan(tmp_path)
    assert records == [] and word in unused.reason and len(unused.reason) < 260, unused.reason
    assert (unused.path + unused.reason).isprintable()


def strange_files(root):
    """What is called result.json and is no record; {path: a word of the reason}."""
    for name in ("loop", "broken", "device", "pipe", "large", "folder"):
        (root / name).mkdir()
    (root / "loop" / "result.json").symlink_to("result.json")
    (root / "broken" / "result.json").symlink_to("nowhere")
    (root / "device" / "result.json").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe" / "result.json")
    with open(root / "large" / "result.json", "wb") as handle:
        handle.truncate(10**10)
    (root / "folder" / "result.json").mkdir()
    (root / "again").symlink_to(".")
    return {"loop/result.json": "symbolic links", "broken/result.json": "No such file", "again": "not followed",
            "device/result.json": "no regular file", "pipe/result.json": "no regular file",
            "large/result.json": "larger than 64 MiB", "folder/result.json": "a folder, not a record"}  # fmt: skip


def test_what_is_no_file_is_named(tmp_path):
    expected = strange_files(tmp_path)
    records, unused = scan(tmp_path)
    assert records == [] and {u.path for u in unused} == expected.keys()
    assert all(expected[u.path] in u.reason for u in unused), unused


def test_good_records_among_bad_ones(tmp_path, capsys):
    """The report is written all the same, with every bad file in it; with bad files alone the command fails."""
    root = tmp_path / "runs"
    root.mkdir()
    for name, (content, _) in BAD.items():
        put(root, name, content)
    strange = strange_files(root)
    with pytest.raises(UserError, match=rf"no final result record .* \({len(BAD) + len(strange)} not usable"):
        main([str(root), "--out", str(tmp_path / "none")])
    tree(root, methods=("random", "mae"), seeds=(0, 1), tasks=("upernet",), with_pictures=False)
    for number, name in enumerate(("$\\frac{a$ <b>_%&#{}", "two\nlines\x00", "\N{SNOWMAN}")):
        write_record(root / f"odd{number}", record(method_name=name) | {"method": f"odd{number}"})
    write_record(root / "odd-failure", failed("x" * 10**5 + "\n<script>", task="upernet", method="clip", seed=5))
    odd = {"name": "vit_tiny_patch16_224", "kwargs": {"img_size": [1, 2], "embed_dim": "x", "depth": {"a": None}}}
    write_record(root / "odd-encoder", record(checkpoint={"sha256": "0" * 64, "encoder": odd}))
    write_record(root / "twice", record("upernet", "random", 0))
    write_record(root / "at odds", record("upernet", "random", 1, metrics=miou(1.0)))
    main([str(root), "--out", str(tmp_path / "report")])
    said = capsys.readouterr()
    assert said.err == "" and f"Not used: {len(BAD) + len(strange) + 3}" in said.out
    text = (tmp_path / "report" / "report.md").read_text()
    listed = [line for line in text.partition("## Files not used")[2].splitlines() if line.startswith("- `")]
    assert len(listed) == len(BAD) + len(strange) + 3
    assert "duplicate of" in text and text.count("contradicts") == 2 and "x" * 300 not in text


def test_pretraining_sets_are_no_contradiction(tmp_path):
    """One cell pretrained on several numbers of samples: cells of their own. The same number twice contradicts."""
    cells = ("all", 16384, 40.0), ("half", 8192, 38.0), ("again", 8192, 12.0), ("same", 16384, 40.0)
    for name, samples, value in cells:
        budget = record()["budget"] | {"pretrain_data": {"name": "scenes", "samples": samples}}
        write_record(tmp_path / name, record("upernet", "clip", metrics=miou(value), budget=budget))
    records, unused = scan(tmp_path)
    assert [r.path for r in records] == ["all/result.json"]
    assert {u.path: u.reason.partition(":")[0] for u in unused} == {
        "again/result.json": "contradicts half/result.json",
        "half/result.json": "contradicts again/result.json",
        "same/result.json": "duplicate of all/result.json",
    }
