"""Dense probes of a frozen encoder, one task per file: cheap stand-ins for the fine-tuning of dense heads.

Each file has PART, what it needs of a checkpoint folder (`PatchMaps`), and `run(cfg, part)`, which returns an
`Outcome`. All learn from features of the training images that the encoder computes once (`features`).
"""

import importlib
from types import ModuleType


def task_file(task: str) -> ModuleType:
    """The file of a dense probe."""
    return importlib.import_module(f"probes.{task}")
