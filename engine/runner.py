"""mmengine's runner without the work for texts that nobody reads, which takes longer than a short run."""

import pprint
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from engine.files import write_text

WIDTH = 120  # characters of a line of config.py


def write_config(cfg: Config, folder: str | Path) -> None:
    """Write a whole configuration to `folder`/config.py, as Python that `engine.config.read` reads back.

    mmengine's own text is laid out by yapf, which takes seconds where a configuration holds a vocabulary.

    Raises:
        UserError: as `engine.files.writing`.
    """
    text = ""
    for key, value in sorted(cfg.to_dict().items()):
        indent = " " * len(f"{key} = ")
        shown = pprint.pformat(value, width=WIDTH - len(indent), compact=True)
        text += f"{key} = " + shown.replace("\n", f"\n{indent}") + "\n"
    write_text(Path(folder) / "config.py", text)


class QuietRunner(Runner):
    """A runner whose beginning costs what the run needs."""

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Leave out a line of the log, dropped by `log_level`, that asks compilers for their versions."""

    def dump_config(self) -> None:
        """Write `config.py`."""
        if is_main_process():
            write_config(self.cfg, self.work_dir)
