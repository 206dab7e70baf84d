"""RGB images with 16-bit depth maps in two parallel folder trees: NYUv2's layout, the embedded scenes', or a user's."""

from collections.abc import Callable, Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, TRANSFORMS

from datasets.images import read_plane
from datasets.segmentation import fit_to_image, pair_files
from engine.errors import UserError

MIN_DEPTH = 1e-3  # metres: a depth at or below this is a hole in the sensor's map, not a distance


@DATASETS.register_module()
class DepthFolder(BaseDataset):
    """Pairs of an image and an unsigned 16-bit depth map of the same name, for mmseg's `DepthEstimator`.

    Args:
        data_root: folder of the data set.
        images, depths: the folders of the images and of the depth maps below it, for one split.
        depth_scale: units of the files per metre: 1000 for millimetres.
        max_depth: metres; a map without any depth below it is refused. 0 in a file means that nothing was measured.
        image_suffix, label_suffix: see `datasets.segmentation.pair_files`, which also names what it refuses.
        pipeline, test_mode, indices: as in mmengine.
    """

    def __init__(
        self,
        data_root: str,
        images: str,
        depths: str,
        depth_scale: float = 1000.0,
        max_depth: float = float("inf"),
        image_suffix: str | None = None,
        label_suffix: str | None = None,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
    ) -> None:
        if depth_scale <= 0 or max_depth <= MIN_DEPTH:
            raise UserError(
                f"depth_scale {depth_scale} and max_depth {max_depth}: both are positive, in units per metre and in "
                "metres; correct the data section"
            )
        self.pairs = pair_files(data_root, images, depths, image_suffix, label_suffix)
        self.depth_scale = depth_scale
        self.max_depth = max_depth
        super().__init__(
            data_root=data_root,
            data_prefix={"img_path": images, "depth_map_path": depths},
            pipeline=list(pipeline),
            test_mode=test_mode,
            indices=indices,
        )

    def load_data_list(self) -> list[dict]:
        """Return one dict per pair with the keys that mmseg's transforms read."""
        pairs = self.__dict__.pop("pairs")  # mmengine packs what is returned into arrays, which workers share
        return [{"img_path": image, "depth_map_path": depth, "seg_fields": []} for image, depth in pairs]

    def get_data_info(self, idx: int) -> dict:
        """Return the dict of sample `idx`, with its units for `LoadDepth`."""
        return {**super().get_data_info(idx), "depth_scale": self.depth_scale, "max_depth": self.max_depth}


@TRANSFORMS.register_module()
class LoadDepth(BaseTransform):
    """Read `depth_map_path` into `gt_depth_map` (float32 [H, W], metres, 0 where nothing was measured).

    Needs `DepthFolder` and a loaded image. Listed in `seg_fields`, the map follows mmseg's flip, crop and (nearest
    neighbour) resize. Raises UserError for a file that cannot be read, is not 16-bit, has another size than its image,
    or holds no depth between MIN_DEPTH and `max_depth`, as with a wrong `depth_scale`.
    """

    def transform(self, results: dict) -> dict:
        """Add the depth map."""
        path = results["depth_map_path"]
        stored = read_plane(path)
        # Pillow widens some 16-bit files to int32; an 8-bit map is a picture of depth, not depth.
        if stored.dtype == np.uint8 or stored.min() < 0 or stored.max() > np.iinfo(np.uint16).max:
            raise UserError(
                f"{path}: holds {stored.dtype} values from {stored.min()} to {stored.max()} where unsigned 16-bit "
                "depth is expected; export it as a 16-bit PNG"
            )
        stored = fit_to_image(stored, results, path)
        depth = stored.astype(np.float32) / np.float32(results["depth_scale"])  # [H, W], metres
        if not ((depth > MIN_DEPTH) & (depth < results["max_depth"])).any():
            raise UserError(
                f"{path}: no pixel between {MIN_DEPTH} m and {results['max_depth']} m (the file holds {stored.min()} "
                f"to {stored.max()}, at {results['depth_scale']} units per metre); check data.depth_scale and "
                "data.max_depth, or remove the pair"
            )
        results["gt_depth_map"] = depth
        results["seg_fields"].append("gt_depth_map")
        return results
