"""Monocular depth by the NYUv2 protocol: head, loss, metric, data set and configs. Importing it registers them."""

from depth import dataset, head, metric

__all__ = ["dataset", "head", "metric"]
