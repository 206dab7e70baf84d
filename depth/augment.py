"""Training augmentations of the NYUv2 recipe: vertical CutDepth and albumentations' default colour changes.

After SwinTransformer/MIM-Depth-Estimation (dataset/base_dataset.py), whose code this is not: that one draws from a
counter and from each worker's state, here every number is a function of the sample's address.
"""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS


@TRANSFORMS.register_module()
class VerticalCutDepth(BaseTransform):
    """Paste the depth map over a strip of the image's full height, into all three channels (Kim et al. 2022).

    The strip starts at a W and is (W - a W) b `share` columns wide, at least one, with a and b uniform in [0, 1). The
    original does so for every fourth sample that a worker reads; here for each with probability 1/4. It writes
    millimetres into 8 bits, so that they wrap every 256 mm; here 0 to `max_depth` become 0 to 255.

    Args:
        prob: the share of samples that are changed.
        share: the widest strip, relative to what lies to the right of its start.
    """

    def __init__(self, prob: float = 0.25, share: float = 0.75) -> None:
        self.prob, self.share = prob, share

    def transform(self, results: dict) -> dict:
        """Change `img` (uint8 [H, W, 3]) with `gt_depth_map` (float32 [H, W], metres)."""
        chance, a, b = np.random.random(3)
        if chance < self.prob:
            image, depth = results["img"].copy(), results["gt_depth_map"]
            width = image.shape[1]
            start = int(a * width)
            end = start + max(int((width - a * width) * b * self.share), 1)
            grey = np.clip(depth[:, start:end] / results["max_depth"] * 255, 0, 255)  # [H, w]
            image[:, start:end] = grey[..., None].astype(np.uint8)
            results["img"] = image
        return results


@TRANSFORMS.register_module()
class ColourChanges(BaseTransform):
    """Brightness and contrast, gamma, and hue, saturation and value, each with probability `prob`, in this order.

    The ranges are albumentations' defaults: brightness and contrast +- 0.2, gamma 0.8 to 1.2, hue +- 20 of OpenCV's 180
    steps, saturation +- 30 and value +- 20 of 255.

    Args:
        prob: the probability of each of the three.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Change `img` (uint8 [H, W, 3], BGR)."""
        chances, (contrast, brightness) = np.random.random(3), np.random.uniform(-0.2, 0.2, 2)
        gamma = np.random.uniform(0.8, 1.2)
        hue, saturation, value = np.random.uniform([-20, -30, -20], [20, 30, 20])
        levels = np.arange(256, dtype=np.float32)
        image = results["img"]
        if chances[0] < self.prob:
            image = cv2.LUT(image, as_bytes(levels * (1 + contrast) + 255 * brightness))
        if chances[1] < self.prob:
            image = cv2.LUT(image, as_bytes(255 * (levels / 255) ** gamma))
        if chances[2] < self.prob:
            h, s, v = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
            h = cv2.LUT(h, np.mod(levels + hue, 180).astype(np.uint8))
            s, v = cv2.LUT(s, as_bytes(levels + saturation)), cv2.LUT(v, as_bytes(levels + value))
            image = cv2.cvtColor(cv2.merge([h, s, v]), cv2.COLOR_HSV2BGR)
        results["img"] = image
        return results


def as_bytes(levels: np.ndarray) -> np.ndarray:
    """Clip to 0..255 and round down to uint8."""
    return np.clip(levels, 0, 255).astype(np.uint8)
