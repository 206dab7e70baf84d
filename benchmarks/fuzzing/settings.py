"""Kinds that state runs: config files, the words of --cfg-options, data overlays, study files."""

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fuzzing.kinds import HERE, ROOT, Kind, command
from engine.run_folder import flatten
from engine.switches import OF_FLAGS
from study.configure import load_config

ROOMS = {  # config -> the method that it is shown for
    "pretrain/configs/mae.py": None, "pretrain/configs/clip.py": None, "pretrain/configs/wsp.py": None,
    "seg_configs/upernet.py": "mae", "det_configs/mask_rcnn.py": "clip", "depth/configs/depth.py": "random",
    "recognition/configs/zero_shot.py": "clip", "recognition/configs/linear_probe.py": "mae",
    "recognition/configs/finetune.py": "mae",
}  # fmt: skip


MADE = ("\n", "<", "param_scheduler", "departures")  # in what the loader makes of a configuration, which is no option


def words_of(*words: str) -> bytes:
    """A command's words, a line each."""
    return "\n".join(words).encode()


def asked(config: str) -> list[str]:
    """The words after a config that say whose encoder it is for."""
    return ["--encoder", ROOMS[config]] if ROOMS[config] else []


def configs() -> Kind:
    """Config files with their bases."""
    found = []
    for config in ROOMS:
        room = Path(config).parent
        files = [config, *(path.relative_to(ROOT).as_posix() for path in (ROOT / room / "_base_").glob("*.py"))]
        files += [path.relative_to(ROOT).as_posix() for path in (ROOT / "engine/configs/_base_").glob("*.py")]
        case = {name: (ROOT / name).read_bytes() for name in files}
        found.append(case | {"command": words_of(f"{HERE}/{config}", *asked(config))})
    return Kind(found, read_config, fixed=("command",), share=2)


def read_config(folder: Path) -> None:
    """Load and show it."""
    command("train", *(folder / "command").read_text().split("\n"), "--show")


def options() -> Kind:
    """The words of --cfg-options."""
    found = []
    for config, method in ROOMS.items():
        flat = flatten(load_config(ROOT / config, encoder=method).to_dict())
        stated = [f"{key}={value}" for key, value in flat.items()
                  if isinstance(value, int | float | str | list) and key not in OF_FLAGS]  # fmt: skip
        lines = [line for line in stated if not any(part in line for part in MADE)]
        files = {"options.words": "\n".join(lines[::9][:12]).encode()}
        found.append(files | {"command": words_of(str(ROOT / config), *asked(config))})
    return Kind(found, read_options, fixed=("command",), share=2)


def read_options(folder: Path) -> None:
    """Load and show the configuration that they make."""
    words = (folder / "options.words").read_bytes().decode("utf-8", "surrogateescape").split("\n")
    command("train", *(folder / "command").read_text().split("\n"), "--cfg-options", *words, "--show")


def overlays() -> Kind:
    """Data overlays."""
    named = {"docs/overlays/camvid.py": "seg_configs/upernet.py", "docs/overlays/depth.py": "depth/configs/depth.py",
             "docs/overlays/image_text.py": "pretrain/configs/clip.py",
             "docs/overlays/cifar10.py": "pretrain/configs/clip.py",
             "recognition/sets/cifar10.py": "recognition/configs/zero_shot.py",
             "recognition/sets/pets.py": "recognition/configs/zero_shot.py"}  # fmt: skip
    found = [{"overlay.py": (ROOT / overlay).read_bytes(),
              "command": words_of(str(ROOT / config), *asked(config), "--data", f"{HERE}/overlay.py")}
             for overlay, config in named.items()]  # fmt: skip
    plain = ('data = dict(name="mine", kind="coco", root="x", annotations="a/{split}.json", images="{split}", '
             'classes=("a", "b"), palette=((1, 2, 3), (4, 5, 6)), splits=dict(val="v"), size=(64, 64))')  # fmt: skip
    config = "det_configs/mask_rcnn.py"
    words = words_of(str(ROOT / config), *asked(config), "--data", f"{HERE}/overlay.py")
    return Kind([*found, {"overlay.py": plain.encode(), "command": words}], read_config, fixed=("command",), share=2)


def studies() -> Kind:
    """Study files."""
    mine = (
        'scale = "tiny"\nencoders = ("mae", dict(encoder="clip", name="Mine"), "random")\ntasks = ("upernet", "knn")\n'
        "seeds = (0, 1)\nfloor = True\ngrid = dict(lr=(2e-3, 4e-3), layer_decay=(0.5, 0.75))\n"
        'options = {"train_cfg.max_iters": 2}\n'
    )
    demo = (ROOT / "study/configs/demo.py").read_bytes()
    return Kind([{"study.py": text} for text in (demo, mine.encode())], read_study, share=2)


def read_study(folder: Path) -> None:
    """List the runs that it asks for, from the checkout, as its user does."""
    os.chdir(ROOT)
    command("study", folder / "study.py", "--list")


def kinds() -> Iterator[tuple[str, Kind]]:
    """Name -> kind of all of them."""
    for make in (configs, options, overlays, studies):
        yield make.__name__, make()
