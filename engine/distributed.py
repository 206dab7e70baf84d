"""Several processes: join the group before anything is written, with or without GPUs."""

import torch
from mmengine.config import Config
from mmengine.dist import barrier, init_dist, is_distributed


def set_up_processes(cfg: Config) -> None:
    """Join the process group that the launcher made; nothing to do for a single process.

    Without a GPU the group talks over gloo and the model is wrapped without device ids; mmengine's own set-up would
    assign each process a CUDA device.
    """
    if cfg.launcher == "none" or is_distributed():
        return
    if torch.cuda.is_available():
        init_dist(cfg.launcher, **cfg.env_cfg.get("dist_cfg", {"backend": "nccl"}))
    else:
        torch.distributed.init_process_group("gloo")
        cfg.model_wrapper_cfg = dict(type="MMDistributedDataParallel", device_ids=None, broadcast_buffers=False)
    barrier()
