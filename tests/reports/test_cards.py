"""Model cards: metadata that YAML reads, golden text, one card per checkpoint, none from trials or failures."""

import timm
import torch
import yaml
from synthetic import failed, metric, record

from backbones.towers import Features
from reports.cards import render
from reports.records import Record

SHA = "ab" * 32
GOLDEN = (
    """\
---
library_name: timm
tags: ["densebench", "mae"]
model-index:
- name: "densebench-tiny-mae-abababababab"
  results:
  - task: {"type": "image-segmentation", "name": "UperNet"}
    dataset: {"type": "scenes", "name": "scenes, scenes-upernet-64-tiny-v1", "split": "test"}
    metrics:
    - {"type": "mean_iou", "value": 31.0, "name": "mIoU UperNet (%), mean of 2 runs"}
  - task: {"type": "image-classification", "name": "k-NN"}
    dataset: {"type": "scenes", "name": "scenes, scenes-knn-tiny-v1", "split": "test"}
    metrics:
    - {"type": "accuracy", "value": 60.0, "name": "k-NN top-1 (%), mean of 1 run"}
---

# MAE, scale tiny

A vision encoder pretrained by MAE (`mae`). Scale tiny spends minutes on pretraining: it shows that the path works, \
not which pretraining is best.

## Weights

`encoder.safetensors`, SHA-256 `"""
    + SHA
    + """`, under timm's key names. The encoder is

```python
import safetensors.torch, timm, torch

image = {'mean': (0.485, 0.456, 0.406), 'std': (0.229, 0.224, 0.225), 'input_size': (3, 64, 64)}
encoder = timm.create_model('vit_tiny_patch16_224', num_classes=0, pretrained_cfg_overlay=image, depth=4, \
embed_dim=96, img_size=64, patch_size=8).eval()
encoder.load_state_dict(safetensors.torch.load_file('encoder.safetensors'))
mean, std = (torch.tensor(image[key]).reshape(3, 1, 1) for key in ('mean', 'std'))
pixels = torch.zeros(1, *image['input_size'])  # your RGB images, in 0..1
features = encoder((pixels - mean) / std)
```

## Results

| Task | Metric | Value | n | Protocol | Split |
| --- | --- | ---: | ---: | --- | --- |
| UperNet | mIoU UperNet (%) ↑ | 31.0 ± 12.7 | 2 | scenes-upernet-64-tiny-v1 | test |
| k-NN | k-NN top-1 (%) ↑ | 60.0 [58.0, 62.0] | 1 | scenes-knn-tiny-v1 | test |
"""
)


def of_one_checkpoint(task, seed, metrics, **changes):
    entry = record(task, "mae", seed, metrics=metrics, **changes)
    entry["checkpoint"]["sha256"] = SHA
    return entry


def entries():
    interval = metric(60.0, "%", primary=True) | {"low": 58.0, "high": 62.0}
    return [
        of_one_checkpoint("knn", 0, {"top1": interval}),
        of_one_checkpoint("upernet", 1, {"mIoU": metric(32.0, "%", primary=True)}),
        of_one_checkpoint("upernet", 0, {"mIoU": metric(30.0, "%", primary=True)}),
    ]


def cards(*found):
    return render(Record(f"{k}/result.json", None, entry) for k, entry in enumerate(found))


def test_golden_card_whatever_the_order_of_records():
    found = cards(*entries())
    assert list(found) == ["mae-tiny-abababababab.md"]
    (text,) = found.values()
    assert text.startswith(GOLDEN)
    assert "- Samples seen: 352,000\n- Updates: 5,500\n- Time: 812 s\n" in text.replace("812.5", "812")
    assert text.count("- UperNet, seed") == 2
    assert render(reversed([Record(f"{k}/result.json", None, e) for k, e in enumerate(entries())])) == found


def test_metadata_is_a_model_index():
    (text,) = cards(*entries()).values()
    head = yaml.safe_load(text.split("---\n")[1])
    (model,) = head["model-index"]
    assert [result["task"]["type"] for result in model["results"]] == ["image-segmentation", "image-classification"]
    for result in model["results"]:
        assert {"type", "name"} <= result["dataset"].keys()
        assert all(isinstance(m["value"], float) and m["type"] for m in result["metrics"])
    assert head["library_name"] == "timm"


def test_odd_texts_do_not_break_the_head():
    entry = entries()[0] | {"method_name": 'a: "b" #c', "command": "python x.py"}
    (text,) = cards(entry).values()
    assert yaml.safe_load(text.split("---\n")[1])["model-index"]


def test_only_finished_final_records_have_cards():
    trial = record(role="trial", split="val")
    assert cards(trial, failed(), failed(checkpoint=None)) == {}
    assert len(cards(record(), record(seed=1), record(method="random"), record("depth"))) == 3


def test_earlier_stages_and_references_are_said():
    stages = record()["budget"] | {
        "earlier_stages": [{"method": "mae", "samples": 64000, "wall_s": None}],
        "pretrain_data": {"name": "scenes", "samples": 20000},
    }
    (text,) = cards(record(budget=stages)).values()
    assert "- Before it: mae, 64,000 samples, not recorded" in text and "- Data: scenes, 20,000 samples" in text
    (text,) = cards(record(method="oracle")).values()
    assert "no fair competitor" in text and '"ceiling"' in text


def test_the_code_of_a_card_gives_the_suite_s_features(clip, monkeypatch):
    """With the encoder's own mean and std, which are not timm's."""
    folder, _ = clip
    ours = Features(folder)
    entry = entries()[0]
    entry["checkpoint"]["encoder"], image = ours.meta["encoder"], ours.meta["image"]
    entry["settings"] |= {"mean": image["mean"], "std": image["std"], "input_size": [image["size"]] * 2}
    (text,) = cards(entry).values()
    code = text.split("```python\n")[1].split("```")[0]
    pictures = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    monkeypatch.chdir(folder)
    found = {"given": pictures.permute(0, 3, 1, 2) / 255}
    exec(code.replace("torch.zeros(1, *image['input_size'])", "given"), found)
    torch.testing.assert_close(found["features"], ours.pool(pictures.numpy()), atol=1e-5, rtol=1e-5)
    config = timm.data.resolve_model_data_config(found["encoder"])
    assert (config["mean"], config["std"]) == (tuple(image["mean"]), tuple(image["std"]))
    assert config["input_size"] == (3, 32, 32) and image["mean"] != [0.5] * 3


def test_a_card_of_old_records_says_where_mean_and_std_are():
    entry = entries()[0]
    entry["settings"] |= dict.fromkeys(("mean", "std", "input_size"))
    (text,) = cards(entry).values()
    assert "# normalise images by mean and std of checkpoint.json" in text and "image =" not in text
