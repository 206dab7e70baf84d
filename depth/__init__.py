"""Monocular depth by the NYUv2 protocol: head, loss, metric, data, schedule, configs. Importing it registers them."""

import datasets.depth  # noqa: F401  registers its folders and transforms
from depth import augment, head, metric, schedule

__all__ = ["augment", "head", "metric", "schedule"]
