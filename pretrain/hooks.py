"""The hook that ties a pretraining method to the runner: schedules, teacher updates, the checkpoint at the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from backbones import save_checkpoint
from engine.provenance import code_version, hardware, peak_memory_mib
from engine.resume import bare, resume_hook
from pretrain.parent import check_start


@HOOKS.register_module()
class PretrainHook(Hook):
    """Tell the method its progress, let it update itself after each optimizer step, and write its checkpoint.

    The checkpoint goes to `<work_dir>/checkpoint`. From the config it takes `method`, `captions`, `scale`, `seed`,
    `config_hash` and `parent_meta`.
    """

    priority = "NORMAL"  # before ResumeHook, whose state must hold the updated teacher

    def before_train(self, runner: Runner) -> None:
        """See that an encoder which starts from a checkpoint still holds it after the method was built."""
        model = bare(runner.model)
        if model.start_ledger is not None:
            check_start(model, runner.cfg.checkpoint)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Sequence | None = None) -> None:
        """Give the method the share of training done so far, and the optimizer what the method keeps frozen now."""
        model = bare(runner.model)
        model.before_step(batch_idx / runner.max_iters)
        runner.optim_wrapper.frozen = model.frozen_now()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence | None = None, outputs: Mapping | None = None
    ) -> None:
        """Call the method's own update; each iteration ends in an optimizer step."""
        bare(runner.model).after_step((batch_idx + 1) / runner.max_iters)

    def after_train(self, runner: Runner) -> None:
        """Write the checkpoint folder."""
        if not is_main_process():
            return
        model, cfg = bare(runner.model), runner.cfg
        dataset = runner.train_dataloader.dataset
        samples = runner.train_loop.samples_done()
        wall = resume_hook(runner).wall_seconds()
        meta = model.checkpoint_meta()
        meta["image"]["size"] = dataset.size
        meta |= {"name": cfg.encoder_name} if "encoder_name" in cfg else {}
        meta |= {
            "method": cfg.method,
            "captions": cfg.get("captions"),
            "seed": cfg.seed,
            "scale": cfg.scale,
            "data": {"name": dataset.name, "samples": len(dataset)},
            "samples_seen": samples,
            "updates": runner.iter,
            "config_hash": cfg.config_hash,
            "code_version": code_version(),
            "parent": cfg.get("parent_meta"),
            "ledger": model.start_ledger and model.start_ledger.document(),
            "cost": {
                "wall_s": round(wall, 3),
                "samples_per_s": round(samples / wall, 2) if samples else 0.0,
                "peak_memory_mib": peak_memory_mib(),
                "hardware": hardware(),
            },
        }
        folder = Path(runner.work_dir) / "checkpoint"
        save_checkpoint(folder, model.encoder, meta, model.text_state())
        runner.logger.info(f"checkpoint: {folder}")
