"""A folder per class, a user's own: checked for pretraining, probes and fine-tuning."""

from typing import Any

from datasets.class_folders import images_in, subfolders
from datasets.parallel import each
from datasets.prepare.findings import Findings
from datasets.prepare.image_text import TOLERATED, at_size
from datasets.prepare.images import sizes_text, try_look
from datasets.prepare.job import Plan
from datasets.prepare.layouts import ROLES
from datasets.prepare.place import Place
from datasets.prepare.twins import compare_splits
from engine.errors import UserError


def image_folder(place: Place, options: dict[str, Any]) -> Plan:
    """train/CLASS with val/CLASS or test/CLASS, or CLASS alone, on which nothing can be tested."""
    names = {role: (name,) for role, name in zip(ROLES, options["splits"], strict=True)} if options["splits"] else ROLES
    found = {}
    for role, candidates in names.items():
        there = [name for name in candidates if (place.source / name).is_dir()]
        if there:
            found[role] = place.source / there[0]
    if options["splits"] and len(found) < len(names):
        lacking = [name for role, (name,) in names.items() if role not in found]
        raise UserError(f"{place.source} has no folder {', '.join(lacking)}: correct --splits")
    if "train" not in found:
        found = {"train": place.source}
    done = []
    for role, folder in found.items():
        place.link(role, folder)
        done.append(f"linked {folder} as {role}")
    data = {"name": place.name, "kind": "image_folder", "root": str(place.out / "train")}
    if "val" in found or "test" in found:
        tested = {
            role: str(place.out / (role if role in found else "val")) for role in ("val", "test") if role in found
        }
        data |= {"train": data["root"], "test": tested.get("test", tested.get("val")), **tested}
    else:
        done.append("no val or test folder: good for pretraining alone")

    def check(findings: Findings) -> dict[str, Any]:
        check_folders(place, list(found), findings)
        return {}

    command = "python tools/train.py pretrain/configs/mae.py"
    remarks = "`root` is what pretraining reads; train, val and test serve recognition's configs."
    return Plan(check, data, command, overlay=True, extra=at_size(options), remarks=remarks, done=done)


def check_folders(place: Place, roles: list[str], findings: Findings) -> None:
    """Two classes or more, the same in each split, none without an image to learn from; every image whole."""
    classes = {role: subfolders(place.out / role) for role in roles}
    findings.lines.append(("classes", f"{len(classes['train'])}: {', '.join(classes['train'][:6])}"))
    if len(classes["train"]) < 2:
        findings.problem("nothing to tell apart", f"{place.out / 'train'} has {len(classes['train'])} class folders")
    shown = {}
    for role in roles:
        for name in sorted(set(classes["train"]) ^ set(classes[role])):
            lacking = role if name in classes["train"] else "train"
            findings.problem("class folder without its counterpart", f"{name} is missing in {place.out / lacking}")
        paths = []
        for name in classes[role]:
            images = images_in(place.out / role / name)
            if not images:
                what = findings.problem if role == "train" else findings.note
                what("class folder without an image", str(place.out / role / name))
            paths += map(str, images)
        findings.count(role, "images", len(paths))
        looks = list(zip(paths, each(try_look, paths, f"check {role}"), strict=True))
        faults = [look for _, look in looks if isinstance(look, str)]
        shown[role] = [(path, look) for path, look in looks if not isinstance(look, str)]
        worst = role != "train" or len(faults) > TOLERATED * len(paths)
        for fault in faults:
            (findings.problem if worst else findings.note)("corrupt image", fault)
        if shown[role]:
            findings.lines.append((f"{role} sizes", sizes_text([look.size for _, look in shown[role]])))
        findings.take_sample([path for path, _ in shown[role]])
    compare_splits(shown, "train", findings)
