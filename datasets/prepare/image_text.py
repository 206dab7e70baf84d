"""Checks of image-text shards for `tools/prepare.py`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.images import CorruptSample, decode_image
from datasets.parallel import each
from datasets.prepare.findings import Findings
from datasets.prepare.images import Look, look_of
from datasets.prepare.job import Plan
from datasets.prepare.place import Place
from datasets.prepare.twins import keep_colours
from datasets.shards import ShardIndex, ShardReader, list_shards, listed_tags, read_captions, table_of
from datasets.tar_headers import ABSENT, Sample, read_headers
from engine.errors import UserError

EXAMINED = 2000  # samples whose image and captions are read, spread evenly; the headers of all are
TOLERATED = 0.001  # share of corrupt samples at which pretraining stops (`PretrainDataset.max_corrupt`)


def image_text(place: Place, options: dict[str, Any]) -> Plan:
    """A user's own image-text pairs in tar shards."""
    list_shards(place.source, options["pattern"])  # refuses a folder without any before anything is made
    in_place = place.out.resolve() == place.source.resolve()
    root = place.out if in_place else place.out / "shards"
    if not in_place:
        place.link("shards", place.source)
    return shards_plan(
        place, root, options["pattern"], options, [f"{'found' if in_place else 'linked'} {place.source}"]
    )


def shards_plan(place: Place, root: Path, pattern: str, options: dict[str, Any], done: list[str]) -> Plan:
    """The plan of shards that lie or were written in `root`."""
    data = {"name": place.name, "kind": "image_text", "root": str(root), "pattern": pattern}
    extra = at_size(options)

    def check(findings: Findings) -> dict[str, Any]:
        found = check_shards(data, findings)
        if found and found != "noisy":
            extra["captions"] = found
        return {}

    command = "python tools/train.py pretrain/configs/clip.py"
    remarks = "Another caption: captions = NAME or --cfg-options captions=NAME. Image size: `--size`, or as below."
    return Plan(check, data, command, overlay=True, extra=extra, remarks=remarks, done=done)


def at_size(options: dict[str, Any]) -> dict[str, Any]:
    """What an overlay states for pretraining at --size: the encoder's and the data set's side."""
    if not options.get("size"):
        return {}
    if (size := options["size"]) < 1:
        raise UserError(f"--size {size}: pixels per side are 1 or more")
    return {"model": {"encoder": {"kwargs": {"img_size": size}}}, "train_dataloader": {"dataset": {"size": size}}}


def check_shards(data: dict[str, Any], findings: Findings) -> str | None:
    """Check the headers of all shards and the content of some samples; returns the caption that they
    have, see `choose_caption`."""
    shards = list_shards(Path(data["root"]), data["pattern"])
    index = read_index(shards, findings)
    if index is None:
        findings.problem("no sample", f"the shards in {data['root']} hold no image with text that can be read")
        return None
    reader, total = ShardReader(index), len(index)
    findings.count("shards", "tars", len(shards))
    findings.count("shards", "samples", total)
    findings.take_sample([str(path) for path in shards], most=2)
    chosen = np.unique(np.linspace(0, total - 1, min(total, EXAMINED)).astype(int)).tolist()
    names: Counter = Counter()
    bare = {
        int(index.first[number] + row)
        for number in range(len(index.shards)) for row in np.flatnonzero(index.blocks(number)[:, 0] == ABSENT)
    }  # fmt: skip
    corrupt = [f"{reader.name(k)}: no image" for k in sorted(bare)]
    images, captions = [], {}
    looks = each(lambda k: examine(reader, k), chosen, "check samples", "sample")
    for sample, (image, texts, fault) in zip(chosen, looks, strict=True):
        names.update(texts)
        captions[sample] = texts
        if image:
            images.append(image)
        if fault and sample not in bare:
            corrupt.append(f"{reader.name(sample)}: {fault}")
    findings.lines.append(("examined", f"{len(chosen):,} samples in full, the headers of all"))
    share = ", ".join(f"{name} {share_of(count, len(chosen))}" for name, count in names.most_common() if name != "txt")
    findings.lines.append(("captions", share or "none"))
    if images:
        heights, widths = zip(*(image.size for image in images), strict=True)
        findings.lines.append(
            ("sizes", f"widths {min(widths)} to {max(widths)}, heights {min(heights)} to {max(heights)}")
        )
    keep_colours("the examined", images, findings)
    worst = len(corrupt) > TOLERATED * total
    for sentence in corrupt:
        (findings.problem if worst else findings.note)("corrupt sample", sentence)
    return choose_caption(captions, names, reader, findings)


def share_of(count: int, total: int) -> str:
    """A share in percent; nearly all is not written as all."""
    return f"{count / total:.0%}" if count == total or count < 0.995 * total else f"{100 * count / total:.4g}%"


def choose_caption(
    captions: Mapping[int, Sequence[str]], names: Counter, reader: ShardReader, findings: Findings
) -> str | None:
    """A caption that training can take, "noisy" where possible, else None; the few samples that lack it are named.

    Args:
        captions: sample -> the names of its captions; names: how many samples have each.
    """
    enough = len(captions) * (1 - TOLERATED)
    whole = sorted(name for name, count in names.items() if count >= enough and name not in ("txt", "tags"))
    if not whole:
        findings.note("no caption that all samples have", "only methods of images alone can train on these")
        return None
    chosen = "noisy" if "noisy" in whole else whole[0]
    for sample, texts in captions.items():
        if chosen not in texts:
            findings.note(f"sample without the caption {chosen!r}, skipped where it is asked for", reader.name(sample))
    return chosen


def read_index(shards: list[Path], findings: Findings) -> ShardIndex | None:
    """The index of all shards that can be read, None if they hold nothing; nothing is stored."""
    tables: dict[Path, np.ndarray] = {}
    for shard, found in zip(shards, each(try_headers, shards, "read shards", "tar"), strict=True):
        if isinstance(found, str):
            findings.problem("unreadable or truncated shard", found)
        else:
            tables[shard] = table_of(found)
    counts = list(map(len, tables.values()))
    return ShardIndex(list(tables), counts, tables.__getitem__) if sum(counts) else None


def try_headers(path: Path) -> list[Sample] | str:
    """The samples of a shard, or the sentence that says why it cannot be read."""
    try:
        return read_headers(path)
    except UserError as error:
        return str(error)


def examine(reader: ShardReader, sample: int) -> tuple[Look | None, list[str], str | None]:
    """A sample's image, the names of its captions and of its tags, and what is wrong with it."""
    captions: list[str] = []
    try:
        record = reader.read(sample, 2)
        captions = [*read_captions(reader.read(sample, 1), record), *(["tags"] if listed_tags(record) else [])]
        return look_of(decode_image(reader.read(sample, 0))), captions, None
    except CorruptSample as error:
        return None, captions, str(error)
