"""mmengine's runner without the work for a log that nobody reads."""

from typing import Any

from mmengine.runner import Runner


class QuietRunner(Runner):
    """A runner whose beginning costs what the run needs.

    mmengine describes the machine (it asks the compilers for their versions) and formats the whole configuration for a
    line of its log, which `log_level` drops; the record and `config.py` hold both.
    """

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Leave out that line."""
