"""A model card per checkpoint, with `model-index` metadata that Hugging Face and other tools read.

A card is Markdown with a YAML head. Its head is written as JSON values, which YAML reads alike and which need no rules
for quoting. Everything in it comes from the checkpoint's finished final records.
"""

import json
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from engine.catalogue import TASK
from reports.costs import quantity
from reports.records import Record
from reports.sections import COLUMNS, TASK_NAMES, Column
from reports.stats import summarise
from reports.tables import number

KINDS = {
    "floor": "This encoder was not trained: it is the floor that every pretraining should pass.",
    "ceiling": "This encoder was pretrained with the dense labels: it is a ceiling and no fair competitor.",
}


def render(records: Iterable[Record]) -> dict[str, str]:
    """{file name: card} of every checkpoint and scale with at least one finished final run, in the order of names."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record["role"] == "final" and record["status"] == "ok" and record["checkpoint"]:
            groups[record["checkpoint"]["sha256"], record["scale"]].append(record)
    cards = {}
    for (sha, scale), members in groups.items():
        members.sort(
            key=lambda r: (
                list(TASK_NAMES).index(r["task"]),
                r["dataset"],
                r["split"],
                r["protocol"],
                r["seed"],
                r.path,
            )
        )
        cards[f"{members[0]['method']}-{scale}-{sha[:12]}.md"] = card(members)
    return dict(sorted(cards.items()))


def card(records: list[Record]) -> str:
    """The card of one checkpoint from its records, which are in the order of tasks."""
    first = records[0]
    sha, encoder = first["checkpoint"]["sha256"], first["checkpoint"]["encoder"]
    name = f"densebench-{first['scale']}-{first['method']}-{sha[:12]}"
    results = _results(records)
    lines = [
        "---",
        "library_name: timm",
        f"tags: {_plain(_tags(first))}",
        "model-index:",
        f"- name: {_plain(name)}",
        "  results:",
    ]
    for (task, dataset, split, protocol), entries in results.items():
        lines += [
            f"  - task: {_plain({'type': TASK[task].hub, 'name': TASK[task].name})}",
            f"    dataset: {_plain({'type': dataset, 'name': f'{dataset}, {protocol}', 'split': split})}",
            "    metrics:",
            *(f"    - {_plain(_metric(column, unit, values))}" for column, unit, values in entries),
        ]
    lines += [
        "---",
        "",
        f"# {first['method_name']}, scale {first['scale']}",
        "",
        _introduction(first),
        "",
        "## Weights",
        "",
        f"`encoder.safetensors`, SHA-256 `{sha}`, under timm's key names. The encoder is",
        "",
        "```python",
        *_building(encoder, _image(records)),
        "```",
        "",
        "## Results",
        "",
    ]
    lines += _table(results)
    lines += [
        "",
        "Mean over seeds of fine-tuning ± half-width of the 95 % Student interval; brackets: 95 % bootstrap "
        "interval over test images of one run. A protocol's name says data, head, scale and version; values of "
        "different protocols are not comparable.",
        "",
        "## Training",
        "",
        *_training(first),
        "",
        "## Where the numbers come from",
        "",
        *(f"- {TASK_NAMES[r['task']]}, seed {r['seed']}: `{r['command']}`" for r in records),
        "",
        f"Code {', '.join(sorted({r['code_version'] for r in records}))}; "
        + ", ".join(f"{k} {v}" for k, v in sorted(first["versions"].items()))
        + ".",
        "",
    ]
    return "\n".join(lines)


def _results(records: list[Record]) -> dict[tuple, list[tuple[Column, str, list[dict]]]]:
    """(task, data set, split, protocol) -> (column, unit, the metric's entry in each record)."""
    grouped: dict[tuple, list[Record]] = defaultdict(list)
    for r in records:
        grouped[r["task"], r["dataset"], r["split"], r["protocol"]].append(r)
    found = {}
    for key, members in grouped.items():
        entries = []
        for column in (c for c in COLUMNS if c.task == key[0]):
            values = [r["metrics"][column.name] for r in members if column.name in r["metrics"]]
            if values and (column.alone or any(v["primary"] for v in values)):
                entries.append((column, values[0]["unit"], values))
        found[key] = entries
    return found


def _metric(column: Column, unit: str, values: list[dict]) -> dict:
    value = float(np.mean([v["value"] for v in values]))
    name = f"{column.label}{f' ({unit})' if unit else ''}, mean of {len(values)} run{'s' if len(values) > 1 else ''}"
    return {"type": column.hub or column.name.lower(), "value": round(value, 4), "name": name}


def _table(results: dict[tuple, list[tuple[Column, str, list[dict]]]]) -> list[str]:
    lines = ["| Task | Metric | Value | n | Protocol | Split |", "| --- | --- | ---: | ---: | --- | --- |"]
    for (task, _, split, protocol), entries in results.items():
        for column, unit, values in entries:
            found = summarise(v["value"] for v in values)
            text = number(found.mean, unit)
            if found.half is not None:
                text += f" ± {number(found.half, unit)}"
            elif "low" in values[0]:
                text += f" [{number(values[0]['low'], unit)}, {number(values[0]['high'], unit)}]"
            label = f"{column.label}{f' ({unit})' if unit else ''} {column.arrow}"
            lines.append(f"| {TASK_NAMES[task]} | {label} | {text} | {found.n} | {protocol} | {split} |")
    return lines


def _introduction(record: Record) -> str:
    captions = f", trained with {record['captions']} captions" if record["captions"] else ""
    sentence = f"A vision encoder pretrained by {record['method_name']} (`{record['method']}`){captions}."
    kind = KINDS.get(record["reference_kind"])
    tiny = (
        "Scale tiny spends minutes on pretraining: it shows that the path works, not which pretraining is best."
        if record["scale"] == "tiny"
        else ""
    )
    return " ".join(filter(None, (kind or sentence, tiny)))


def _training(record: Record) -> list[str]:
    budget, cost = record["budget"], record["cost"]
    data = budget.get("pretrain_data")
    lines = [f"- Data: {data['name']}, {quantity(data['samples'])} samples"] if data else []
    lines += [
        f"- Samples seen: {quantity(budget['pretrain_samples'])}",
        f"- Updates: {quantity(budget['pretrain_updates'])}",
        f"- Time: {quantity(cost['pretrain_wall_s'], 's')}",
    ]
    for stage in budget.get("earlier_stages", []):
        lines.append(
            f"- Before it: {stage['method']}, {quantity(stage['samples'])} samples, {quantity(stage['wall_s'], 's')}"
        )
    return lines


def _image(records: list[Record]) -> dict | None:
    """Mean, std and input size as timm's configurations name them; None where no record knows them.

    Tests of whole images come first: they see images as the encoder's pretraining did, at its own size.
    """
    known = [r for r in records if r["settings"]["mean"] and r["settings"]["input_size"]]
    if not known:
        return None
    settings = min(known, key=lambda r: TASK[r["task"]].group != "image")["settings"]
    return {"mean": tuple(settings["mean"]), "std": tuple(settings["std"]), "input_size": (3, *settings["input_size"])}


def _building(encoder: dict, image: dict | None) -> list[str]:
    """Lines of Python from the file to features; `tests/reports/test_cards.py` runs them."""
    arguments = "".join(f", {key}={value!r}" for key, value in sorted(encoder["kwargs"].items()))
    overlay = f", pretrained_cfg_overlay=image{arguments}" if image else arguments
    lines = [
        "import safetensors.torch, timm, torch",
        "",
        *([f"image = {image!r}"] if image else []),
        f"encoder = timm.create_model({encoder['name']!r}, num_classes=0{overlay}).eval()",
        "encoder.load_state_dict(safetensors.torch.load_file('encoder.safetensors'))",
    ]
    if not image:  # records of version 2
        return [*lines, "# normalise images by mean and std of checkpoint.json, which lies beside that file"]
    return [
        *lines,
        "mean, std = (torch.tensor(image[key]).reshape(3, 1, 1) for key in ('mean', 'std'))",
        "pixels = torch.zeros(1, *image['input_size'])  # your RGB images, in 0..1",
        "features = encoder((pixels - mean) / std)",
    ]


def _tags(record: Record) -> list[str]:
    return ["densebench", record["method"], *([record["reference_kind"]] if record["reference_kind"] else [])]


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
