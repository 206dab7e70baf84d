"""What a number can be, by the name it has everywhere: a share beyond 1 or a negative width trains nonsense or breaks.

Only names whose meaning is the same wherever they stand have a row; a rule in a dotted name goes by its last parts.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from engine.errors import UserError
from engine.names import parts_of

# (what a value must be, lowest, lowest itself too, highest, highest itself too, names)
RULES = (
    ("above 0 and below 1", 0, False, 1, False, "mask_ratio mlm.ratio"),
    ("at least 0 and below 1", 0, True, 1, False,
     "drop_path drop_path_rate drop_rate proj_drop_rate attn_drop_rate dropout_ratio smoothing betas"),
    ("from 0 to 1", 0, True, 1, True,
     "momentum centre_momentum teacher_warmup freeze_last prob flip hflip blur_p grey_p jitter_p solarise_p erasing "
     "pos_fraction pos_iou_thr neg_iou_thr min_pos_iou iou_threshold score_thr start_factor"),
    ("above 0 and at most 1", 0, False, 1, True, r"layer_decay transform.scale views.\w+.scale"),
    ("above 0", 0, False, math.inf, False,
     "temperature student_temperature teacher_temperature eps decoder_norm_eps max_norm depth_scale max_depth aspect"),
    ("0 or more", 0, True, math.inf, False,
     "lr weight_decay eta_min eta_min_ratio loss_weight clip_weight distill_weight mlm_weight pair_weight token_weight "
     "simsiam_weight neighbour_weight instance_weight simclr_weight align_weight mixup cutmix jitter warm_up "
     "num_workers max_iters decoder_depth regressor_depth num_classes state_minutes"),
    ("1 or more", 1, True, math.inf, False,
     "batch_size global_batch_size batch accumulation epochs repeats state_interval progress_interval neighbours size "
     "image_size img_size crop_size patch_size pool_scales channels in_channels out_channels feat_channels embed_dim "
     "width decoder_width heads num_heads decoder_heads hidden bottleneck codes bank dim context num_masked mask_count "
     "min_block count"),
)  # fmt: skip
BY_LAST = {name.split(".")[-1]: (re.compile(rf"(.*\.)?{name.replace('.', '[.]')}"), *rule)
           for *rule, names in RULES for name in names.split()}  # fmt: skip


def check_ranges(cfg: Config, where: str) -> None:
    """UserError for the first number of a configuration that is none of those that its name can have."""
    for place, part in parts_of(cfg):
        for key in (key for key in part if key in BY_LAST):
            pattern, must, low, low_too, high, high_too = BY_LAST[key]
            whole = f"{place}.{key}" if place else key
            for value in _numbers(part[key]) if pattern.fullmatch(whole) else ():
                if not (low < value < high or (low_too and value == low) or (high_too and value == high)):
                    raise UserError(f"{where}: {whole} is {value}, but it must be {must}")


def _numbers(value: Any) -> Iterator[int | float]:
    """A value, where it is a number, or those of a list; what else stands there is left to others."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value
