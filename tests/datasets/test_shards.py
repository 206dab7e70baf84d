"""Tar shards as people have them: what is damaged is named or refused, and nothing is lost without a word."""

import io
import json
import tarfile

import numpy as np
import pytest

from datasets.images import CorruptSample
from datasets.shards import ShardReader, list_shards, load_index, read_captions
from datasets.tar_headers import LARGEST, any_members, plain_members, read_headers
from engine.errors import UserError
from pretrain.data.dataset import ImageTextShards
from tests.pretrain.samples import make_sample

SAMPLE = make_sample(1)


def write(path, members):
    """A tar of (name, bytes)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def members(count, first=0):
    return [(f"{k:06d}.{part}", data) for k in range(first, first + count) for part, data in make_sample(k).items()]


def headers(path):
    """Where the members begin."""
    with tarfile.open(path) as archive:
        return [member.offset for member in archive]


def refusal(path):
    with pytest.raises(UserError) as error:
        read_headers(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


def test_a_tar_cut_anywhere_is_refused(tmp_path):
    path = write(tmp_path / "a.tar", members(6))
    data = path.read_bytes()
    end = max(k for k in range(0, len(data), 512) if any(data[k : k + 512])) + 512  # of the last member
    assert len(read_headers(path)) == 6
    rng = np.random.default_rng(0)
    starts = headers(path)
    cuts = [*(at + 100 for at in starts), *starts[1:], *rng.integers(1, end + 1, 30).tolist(), end]
    for cut in cuts:
        path.write_bytes(data[:cut])
        assert "samples stand before that" in refusal(path)


def test_a_damaged_header_loses_nothing_silently(tmp_path):
    path = write(tmp_path / "a.tar", members(6))
    data = bytearray(path.read_bytes())
    fourth = headers(path)[9]
    data[fourth + 3] ^= 64
    path.write_bytes(data)
    assert "3 samples stand before that" in refusal(path)
    data[fourth : fourth + 512] = bytes(512)
    path.write_bytes(data)
    assert "is damaged, or two joined tars" in refusal(path)


def test_joined_tars_are_refused(tmp_path):
    first, second = (write(tmp_path / f"{k}.tar", members(2, first=2 * k)) for k in range(2))
    first.write_bytes(first.read_bytes() + second.read_bytes())
    assert "two joined tars" in refusal(first)


def test_hidden_members_and_files_are_nobodys(tmp_path):
    clutter = [("._000001.png", b"x"), (".DS_Store", b"x"), ("__MACOSX/._000001.png", b"x"), ("Thumbs.db", b"x")]
    path = write(tmp_path / "shards/a.tar", [*clutter, *members(2), ("000001.cls", b"3"), ("000001.seg.png", b"x")])
    (tmp_path / "shards/._a.tar").write_bytes(b"x")
    assert list_shards(tmp_path / "shards", "*.tar") == [path]
    index = load_index(tmp_path / "shards")
    assert index.keys(0) == ["000000", "000001"] and (index.blocks(0) <= LARGEST).all()
    assert ShardReader(index).read(1, 0) == make_sample(1)["png"]


def test_a_key_given_twice_is_named(tmp_path):
    extra = [("000001.png", make_sample(7)["png"])]
    write(tmp_path / "shards/a.tar", [*members(3), *extra])
    reader = ShardReader(load_index(tmp_path / "shards"))
    assert reader.read(0, 0) == make_sample(0)["png"]
    with pytest.raises(CorruptSample, match="its key stands in the tar with several image members"):
        reader.read(1, 0)
    data = ImageTextShards(str(tmp_path / "shards"), 32, "txt", max_corrupt=0.4, corrupt_log=str(tmp_path / "log"))
    assert data[1]["index"] == 2, "the next good sample stands in"
    assert "000001\tits key stands in the tar with several" in (tmp_path / "log").read_text()


def test_dots_in_keys_are_named(tmp_path):
    write(tmp_path / "shards/a.tar", [*members(2), ("img.v1.jpg", b"x"), ("img.v1.txt", b"y")])
    reader = ShardReader(load_index(tmp_path / "shards"))
    assert reader.index.keys(0) == ["000000", "000001", "img"]
    with pytest.raises(CorruptSample, match="a dot in the key of its image: .* rename"):
        reader.read(2, 0)


@pytest.mark.parametrize("record", [b"{", b"[1]", b"null", b'"x"', b"3", b"\xff\xfe{}", b"", b"[" * 100_000,
                                    b'{"caption": "half \\ud800"}'])  # fmt: skip
def test_a_record_that_is_none_is_one_corrupt_sample(tmp_path, record):
    with pytest.raises(CorruptSample, match="damaged JSON"):
        read_captions(b"text", record)
    samples = members(40)
    samples[3 * 0 + 2] = ("000000.json", record)
    write(tmp_path / "shards/a.tar", samples)
    data = ImageTextShards(str(tmp_path / "shards"), 32, "aligned", max_corrupt=0.03, corrupt_log=str(tmp_path / "log"))
    assert data[0]["index"] == 1 and data[5]["index"] == 5
    assert (tmp_path / "log").read_text().count("damaged JSON") == 1
    with pytest.raises(UserError, match="1 of 40 samples looked at in .* have no usable caption 'aligned'"):
        ImageTextShards(str(tmp_path / "shards"), 32, "aligned", max_corrupt=0.01)


def test_a_text_of_other_bytes_is_corrupt():
    with pytest.raises(CorruptSample, match="not UTF-8"):
        read_captions(b"caf\xe9", b"{}")
    assert read_captions("café".encode(), None)["txt"] == "café"


def test_the_first_sample_is_not_all(tmp_path):
    """One of 2,000 without a caption is skipped and named; where half lack it, training does not begin."""
    png, record = SAMPLE["png"], json.dumps({"caption": None}).encode()
    parts = [(f"{k:06d}.{end}", data) for k in range(2000)
             for end, data in (("png", png), ("json", record) if k == 0 else ("txt", b"a cube"))]  # fmt: skip
    write(tmp_path / "one/a.tar", parts)
    data = ImageTextShards(str(tmp_path / "one"), 32, "txt", corrupt_log=str(tmp_path / "log"))
    assert data[0]["index"] == 1 and "000000\tno caption 'txt'" in (tmp_path / "log").read_text()
    write(tmp_path / "half/a.tar", [part for k, part in enumerate(parts) if part[0].endswith("png") or k % 4 == 1])
    with pytest.raises(UserError, match="of 1000 samples looked at .* no usable caption 'txt' .there are noisy, txt"):
        ImageTextShards(str(tmp_path / "half"), 32, "txt")
    with pytest.raises(UserError, match="have no caption 'best' but noisy, txt"):
        ImageTextShards(str(tmp_path / "one"), 32, "best")


def test_what_replaces_a_corrupt_sample_does_not_depend_on_what_was_seen_before(tmp_path):
    """Of "a+b" a sample may lack b: it fails under some draws alone, and must not be remembered as bad."""
    samples = {k: make_sample(k) for k in range(6)}
    for k in (1, 4):
        record = json.loads(samples[k]["json"])
        del record["captions"]["enriched"]
        samples[k]["json"] = json.dumps(record).encode()
    parts = [(f"{k:06d}.{end}", data) for k, sample in samples.items() for end, data in sample.items()]
    write(tmp_path / "shards/a.tar", parts)

    def items(order):
        data = ImageTextShards(str(tmp_path / "shards"), 32, "aligned+enriched", max_corrupt=0.9)
        found = {}
        for index, seed in order:
            np.random.seed(seed)
            item = data[index]
            found[index, seed] = (item["index"], item["tokens"].tolist(), item["image"].sum().item())
        return found

    addresses = [(index, seed) for index in range(6) for seed in range(8)]
    forwards, backwards = items(addresses), items(addresses[::-1])
    assert forwards == backwards
    assert {forwards[1, seed][0] for seed in range(8)} == {1, 2}, "it serves where a caption is there"


@pytest.mark.parametrize("how", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_plain_headers_are_read_as_tarfile_reads_them(tmp_path, how):
    rng, path = np.random.default_rng(how), tmp_path / "a.tar"
    for trial in range(20):
        longest = 90 if trial % 2 else 130  # beyond 100 bytes the formats differ
        with tarfile.open(path, "w", format=how) as archive:
            for k in range(rng.integers(1, 9)):
                folder = "d" * int(rng.integers(1, longest)) + "/" if rng.random() < 0.5 else ""
                info = tarfile.TarInfo(f"{folder}{k:03d}.{rng.choice(['png', 'txt', 'json'])}")
                if rng.random() < 0.1:
                    info.type, info.name = tarfile.DIRTYPE, folder or "x"
                    archive.addfile(info)
                else:
                    info.size = int(rng.integers(0, 2000))
                    archive.addfile(info, io.BytesIO(rng.bytes(info.size)))
        plain, (known, problem) = plain_members(path), any_members(path)
        assert problem is None and plain in (known, None)
        assert plain is not None or longest > 100, "plain tars take the short way"


def test_no_damage_of_a_header_passes_the_short_way(tmp_path):
    path = write(tmp_path / "a.tar", members(3))
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for start in headers(path)[:4]:
        for place in rng.choice(512, 40, replace=False):
            damaged = bytearray(data)
            damaged[start + place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            assert plain_members(path) is None


@pytest.fixture
def stated(tmp_path):
    """Three shards of 4, 3 and 5 samples, and a way to state how many they hold."""
    root = tmp_path / "shards"
    for number, count in enumerate((4, 3, 5)):
        write(root / f"{number}.tar", members(count, first=10 * number))

    def state(how, counts):
        if how == "wids":
            rows = [{"url": f"https://somewhere/{number}.tar", "nsamples": n} for number, n in enumerate(counts)]
            (root / "index.json").write_text(json.dumps({"wids_version": 1, "shardlist": rows}))
        else:
            for number, count in enumerate(counts):
                (root / f"{number}_stats.json").write_text(json.dumps({"successes": count}))
        return root

    return state


@pytest.mark.parametrize("how", ["wids", "img2dataset"])
def test_counts_of_others_spare_reading_all_headers(stated, how):
    root = stated(how, [4, 3, 5])
    reader = ShardReader(load_index(root))
    assert len(reader) == 12 and not (root.parent / ".shards.index/tars").exists()
    assert reader.read(5, 0) == make_sample(11)["png"] and reader.name(5).endswith("1.tar:000011")
    assert len(list((root.parent / ".shards.index/tars").glob("*.npy"))) == 1, "only the shard that was asked for"


def test_counts_of_others_must_be_true(stated):
    reader = ShardReader(load_index(stated("wids", [4, 4, 5])))
    assert reader.read(0, 0) == make_sample(0)["png"]
    with pytest.raises(UserError, match=r"1.tar holds 3 samples, but 4 by the index beside it .* remove them"):
        reader.read(5, 0)


def test_counts_of_some_shards_alone_are_not_taken(stated):
    root = stated("wids", [4, 3])
    assert load_index(root).first.tolist() == [0, 4, 7, 12]
