"""Look into a checkpoint: where its encoder attends, what it finds, what it keeps, how fast it is.

    python tools/analyse.py attention_distance --checkpoint runs/tiny/pretrain/mae/seed0/checkpoint
    python tools/analyse.py similarity_maps --checkpoint runs/tiny/pretrain/clip/seed0/checkpoint --count 128
    python tools/analyse.py attention_maps --checkpoint FOLDER --images my/photos --masks my/instances.json

Each prints its numbers and leaves analysis.json and figure.svg in analysis/<name> beside the checkpoint, or in --out.
The default images are the held-out scenes, made on first use. docs/analysis.md says what each shows.
"""

import argparse
import dataclasses
import importlib
import shlex
from collections.abc import Sequence
from pathlib import Path

import start  # isort: split

from analysis.options import ANALYSES, COLOURS, SCENES


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = start.parser_of(__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, analysis in ANALYSES.items():
        told = f"{analysis.about[0].upper()}{analysis.about[1:]}. See analysis/{name}.py."
        one = names.add_parser(name, help=analysis.about, description=told)
        for flag, details in analysis.options:
            one.add_argument(flag, **details)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Parse, analyse, write, print."""
    options = vars(parse_arguments(arguments))
    name, out = options.pop("name"), options.pop("out")
    of_scenes = ANALYSES[name].scenes
    start.mend()  # the heavy imports, after the arguments are known to be good
    from backbones import read_checkpoint
    from engine.provenance import code_version, hardware, versions
    from reports.analyses import FIGURE, check_free, write_analysis
    from scenes.attributes import ensure_classes
    from scenes.export import ensure

    checkpoints = options.get("checkpoint", [])
    checkpoints = [checkpoints] if isinstance(checkpoints, str) else checkpoints
    out = out or Path(checkpoints[0]).parent / "analysis" / name
    check_free(out)
    for folder in checkpoints:  # before the data: nobody should wait for scenes to learn that one is missing
        read_checkpoint(folder)
    if of_scenes and options["images"] is None:
        ensure(SCENES)
        if of_scenes == COLOURS:
            ensure_classes(SCENES, "colour")
        options["images"] = f"{SCENES}/{of_scenes}"
        if "masks" in options and options["masks"] is None:
            options["masks"] = f"{SCENES}/coco/instances_test.json"
    finding = dataclasses.asdict(importlib.import_module(f"analysis.{name}").run(**options))
    figure = finding.pop("figure")
    command = shlex.join(["python", "tools/analyse.py", *arguments])
    provenance = {"command": command, "code_version": code_version(), "versions": versions(), "hardware": hardware()}
    path = write_analysis(out, {"name": name, **finding, **provenance}, figure)
    print(finding["title"])
    for scalar, found in finding["scalars"].items():
        print(f"{scalar:<18} {found['value']:10.3f} {found['unit']:<6} {found['about']}")
    print(f"figure: {path.with_name(FIGURE)}\nresult: {path}")


if __name__ == "__main__":
    start.run(main)
