"""Image-level tasks of a pretrained encoder, one task per file.

Each file has PART, what it needs of a checkpoint folder (`Towers`, `Features`), and `run(cfg, part)`, which returns an
`Outcome`. Fine-tuning, and the probes where they train on augmented images, are runs of mmengine: `finetune`.
"""

import importlib
from types import ModuleType


def task_file(task: str) -> ModuleType:
    """The file of an image-level task; both probes are one file, which their recipe tells apart."""
    return importlib.import_module(f"recognition.{'probe' if task.endswith('_probe') else task}")
