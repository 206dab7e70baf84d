"""The methods and the tasks that the suite knows, each in one row, from which every table of the suite is derived.

Data alone: this module imports nothing but dataclasses, so that reports and scenes may read it too. A method or a task
becomes part of the suite by its row here; a record of a method without a row still has its place in the tables, below
the families, while a record of a task without a row is refused, since nothing says how its metrics are read.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Method:
    """One way of pretraining, known to the reports by this row; their tables stand in the order of `METHODS`.

    Attributes:
        id: the name in configs, folders and records.
        name: the name that people read; several may share one, tables then add captions or id.
        family: the group of rows in which tables show it.
        text: whether its checkpoints hold a text tower, so that tasks with texts can use them.
        reference: "floor" or "ceiling" of what can be won; None for a competitor, which alone is ranked.
        baseline: kind of data of which it predicts the same for every image, without an encoder; None: an encoder's.
        clip_kin: compared as a relative of CLIP, and fine-tuned on ImageNet by CLIP's published recipe.
        colour: in charts, of Okabe and Ito's palette; None: one of those that such methods share.
    """

    id: str
    name: str
    family: str
    text: bool = False
    reference: Literal["floor", "ceiling"] | None = None
    baseline: Literal["seg", "depth"] | None = None
    clip_kin: bool = False
    colour: str | None = None


METHODS = (
    Method("random", "random initialisation", "references", reference="floor", colour="#999999"),
    Method("majority_class", "most frequent class", "references", reference="floor", baseline="seg"),
    Method("mean_depth", "mean depth map", "references", reference="floor", baseline="depth"),
    Method("oracle", "oracle (dense labels)", "references", reference="ceiling"),
    Method("supervised", "supervised (image labels)", "labels", colour="#E69F00"),
    Method("clip", "CLIP", "captions", text=True, clip_kin=True, colour="#56B4E9"),
    Method("clip_resnet18", "CLIP", "captions", text=True),
    Method("clip_mobilenetv2", "CLIP", "captions", text=True),
    Method("clip_swin_nano", "CLIP", "captions", text=True),
    Method("clip_rewritten", "CLIP", "captions", text=True, clip_kin=True),
    Method("clip_enriched", "CLIP", "captions", text=True, clip_kin=True),
    Method("clip_mixed", "CLIP", "captions", text=True, clip_kin=True),
    Method("clip_aligned", "CLIP", "captions", text=True, clip_kin=True, colour="#0072B2"),
    Method("datacompdr", "CLIP, real and synthetic", "captions", text=True, clip_kin=True),
    Method("slip", "SLIP", "captions", text=True, clip_kin=True),
    Method("declip", "DeCLIP", "captions", text=True, clip_kin=True),
    Method("lightclip", "LightCLIP", "captions", text=True, clip_kin=True),
    Method("lightclip_resnet18", "LightCLIP", "captions", text=True),
    Method("lightclip_mobilenetv2", "LightCLIP", "captions", text=True),
    Method("lightclip_swin_nano", "LightCLIP", "captions", text=True),
    Method("maskclip", "MaskCLIP", "captions", text=True, clip_kin=True, colour="#009E73"),
    Method("moco_v3", "MoCo v3", "views"),
    Method("dino", "DINO", "views"),
    Method("mae", "MAE", "masked images", colour="#D55E00"),
    Method("beit", "BEiT", "masked images"),
    Method("cae", "CAE", "masked images"),
    Method("fd", "FD of CLIP", "two stages"),
    Method("wsp", "WSP after MAE", "two stages"),  # reads captions as tags, and keeps no text tower
)


@dataclass(frozen=True)
class Metric:
    """One metric that tables show.

    Attributes:
        name: its key in records.
        label: its heading where it stands among other tasks' metrics.
        short: its heading below its own task's name.
        unit: "%", "m", or None where records may give it as a share of 1 too.
        direction: which way is better.
        role: "required" in every finished record; "optional"; "instead": it may stand in the place of the task's first
            metric, as the primary one, and is shown only there; "detail": no column of the main tables.
        hub: its name on the Hugging Face hub; None: `name` in lower case.
    """

    name: str
    label: str
    short: str
    unit: Literal["%", "m"] | None = "%"
    direction: Literal["up", "down"] = "up"
    role: Literal["required", "optional", "instead", "detail"] = "required"
    hub: str | None = None


@dataclass(frozen=True)
class Task:
    """What an encoder is trained or tested for; tables show tasks in the order of `TASKS`.

    Attributes:
        id: the name in configs, folders and records.
        name: the name that people read.
        config: the config file that runs it, or the pattern of one file per method.
        group: "dense" prediction, a "probe" of it on frozen features, whole "image", or "pretrain".
        kinds: of data sections that it takes.
        hub: the task's name on the Hugging Face hub.
        metrics: what tables show, the primary one first.
        study: "always" in a study, "asked": only by `--tasks`; None: never, it is run alone.
        needs_text: only for encoders with a text tower.
        drawn: of tests of frozen encoders: it trains something, so that its value depends on the seed.
        classes: what it predicts are the classes of folders of images, which the data alone know.
        probe: place among the cheap tests that may foretell dense results; None: it is none.
    """

    id: str
    name: str
    config: str
    group: Literal["dense", "probe", "image", "pretrain"]
    kinds: tuple[str, ...]
    hub: str = ""
    metrics: tuple[Metric, ...] = ()
    study: Literal["always", "asked"] | None = "always"
    needs_text: bool = False
    drawn: bool = False
    classes: bool = False
    probe: int | None = None


def _finer(kind: Literal["box", "mask"]) -> tuple[Metric, ...]:
    """COCO's other average precisions: at one overlap, and of small, medium and large objects (where there are any)."""
    parts = ("50", "75", "_small", "_medium", "_large")
    return tuple(Metric(f"{kind}_AP{p}", f"{kind} AP{p.replace('_', ' ')}", f"{kind} AP{p.replace('_', ' ')}",
                        role="detail") for p in parts)  # fmt: skip


PRETRAIN = Task(
    "pretrain", "Pretraining", "pretrain/configs/{method}.py", "pretrain", ("image_text", "image_folder", "dense")
)
TASKS = (
    Task("mask_rcnn", "Mask R-CNN", "det_configs/mask_rcnn.py", "dense", ("coco",), "object-detection", (
        Metric("box_AP", "box AP", "box AP", hub="mean_average_precision"),
        Metric("mask_AP", "mask AP", "mask AP", hub="mean_average_precision"), *_finer("box"), *_finer("mask"),
    )),
    Task("cascade_mask_rcnn", "Cascade Mask R-CNN", "det_configs/cascade_mask_rcnn.py", "dense", ("coco",),
         "object-detection", (
             Metric("box_AP", "box AP Cascade", "box AP", hub="mean_average_precision"),
             Metric("mask_AP", "mask AP Cascade", "mask AP", hub="mean_average_precision"),
             *_finer("box"), *_finer("mask"),
         ), study="asked"),
    Task("upernet", "UperNet", "seg_configs/upernet.py", "dense", ("seg",), "image-segmentation", (
        Metric("mIoU", "mIoU UperNet", "mIoU", hub="mean_iou"),
    )),
    Task("semantic_fpn", "SemanticFPN", "seg_configs/semantic_fpn.py", "dense", ("seg",), "image-segmentation", (
        Metric("mIoU", "mIoU SemanticFPN", "mIoU", hub="mean_iou"),
    )),
    Task("depth", "Depth", "depth/configs/depth.py", "dense", ("depth",), "depth-estimation", (
        Metric("rmse", "depth RMSE", "RMSE", "m", "down"),
        Metric("delta1", "depth δ1", "δ1", None, role="optional"),
    )),
    Task("linear_seg", "Linear segmentation", "probes/configs/linear_seg.py", "probe", ("seg",), "image-segmentation", (
        Metric("mIoU", "mIoU linear", "mIoU", hub="mean_iou"),
    ), drawn=True, probe=0),
    Task("knn_seg", "k-NN segmentation", "probes/configs/knn_seg.py", "probe", ("seg",), "image-segmentation", (
        Metric("mIoU", "mIoU k-NN", "mIoU", hub="mean_iou"),
    ), probe=1),
    Task("linear_depth", "Linear depth", "probes/configs/linear_depth.py", "probe", ("depth",), "depth-estimation", (
        Metric("rmse", "linear depth RMSE", "RMSE", "m", "down"),
        Metric("delta1", "linear depth δ1", "δ1", None, role="optional"),
    ), drawn=True, probe=2),
    Task("zero_shot", "Zero-shot", "recognition/configs/zero_shot.py", "image",
         ("attributes", "image_folder", "image_list"), "zero-shot-image-classification", (
             Metric("top1", "zero-shot top-1", "top-1", hub="accuracy"),
             Metric("mean_per_class", "zero-shot mean per class", "mean per class", role="instead"),
         ), needs_text=True, probe=6),
    Task("retrieval", "Retrieval", "recognition/configs/retrieval.py", "image", ("image_text",),
         "image-text-retrieval", (
             Metric("image_to_text_R1", "retrieval I2T R@1", "I2T R@1"),
             Metric("text_to_image_R1", "retrieval T2I R@1", "T2I R@1"),
         ), needs_text=True),
    Task("linear_probe", "Linear probe", "recognition/configs/linear_probe.py", "image", ("image_folder",),
         "image-classification", (Metric("top1", "linear top-1", "top-1", hub="accuracy"),), drawn=True, classes=True,
         probe=4),
    Task("attentive_probe", "Attentive probe", "recognition/configs/attentive_probe.py", "image", ("image_folder",),
         "image-classification", (Metric("top1", "attentive top-1", "top-1", hub="accuracy"),), drawn=True,
         classes=True, probe=5),
    Task("knn", "k-NN", "recognition/configs/knn.py", "image", ("image_folder",), "image-classification", (
        Metric("top1", "k-NN top-1", "top-1", hub="accuracy"),
    ), probe=3),
    Task("finetune", "Fine-tuning", "recognition/configs/finetune.py", "image", ("image_folder",),
         "image-classification", (Metric("top1", "fine-tuning top-1", "top-1", hub="accuracy"),), study=None,
         drawn=True, classes=True),
)  # fmt: skip

METHOD = {method.id: method for method in METHODS}
TASK = {task.id: task for task in (PRETRAIN, *TASKS)}
DENSE = tuple(task.id for task in TASKS if task.group == "dense")
TESTS = tuple(task.id for task in TASKS if task.group in ("probe", "image"))  # of an encoder as it is
NEED_TEXT = tuple(task.id for task in TASKS if task.needs_text)
BASELINES = tuple(method.id for method in METHODS if method.baseline)
CLIP_KIN = tuple(method.id for method in METHODS if method.clip_kin)

# Families of pretraining, as checkpoints and records name them, that the id or the group of a method does not tell.
KIN = {"moco_v3": "contrastive", "wsp": "supervised", "fd": "distillation"}
GROUPS = {  # family of published weights -> the group of rows in which tables show it
    "clip": "captions", "siglip": "captions", "supervised": "labels", "segmentation": "labels", "dino": "views",
    "contrastive": "views", "mae": "masked images", "beit": "masked images", "cae": "masked images",
    "mim": "masked images", "aim": "masked images", "distillation": "two stages",
}  # fmt: skip


def family_of(method: str) -> str:
    """The family of pretraining of a method's id: clip, dino, mae, ...; "unknown" for an id without a row."""
    known = METHOD.get(method.partition("-")[0])
    if known is None:
        return "unknown"
    return "clip" if known.family == "captions" else KIN.get(known.id, known.id)
