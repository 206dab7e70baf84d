"""Runner settings that every run shares; a config of any room is merged over these."""

default_hooks = dict(
    # mmengine's own logger and runtime hooks read every loss on the host at every step; ProgressHook replaces them.
    runtime_info=None,
    timer=None,
    sampler_seed=None,
    logger=None,
    checkpoint=None,
    param_scheduler=dict(type="ParamSchedulerHook"),
)
progress_interval = 20  # iterations between two progress lines
state_interval = 200  # iterations between two resumable states
state_minutes = None  # minutes after which one is written in between too
# Switches of how a run is computed (engine/switches.py); --activation-checkpointing, --compile, --channels-last, --tf32
recompute_blocks = compile_blocks = channels_last = tf32 = False
accumulation = 1  # passes that make one update; batch, updates and schedules stay what the recipe says
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0))
log_level = "WARNING"
visualizer = dict(type="Visualizer", vis_backends=[])
load_from = None
resume = False
launcher = "none"
