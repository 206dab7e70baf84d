"""Monocular depth by the NYUv2 protocol: head, loss, metric, data, schedule, configs. Importing it registers them."""

from depth import augment, dataset, head, metric, schedule

__all__ = ["augment", "dataset", "head", "metric", "schedule"]
