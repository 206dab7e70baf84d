"""Mends that let the wheels of today work together: every entry point imports `compat` before anything else.

Each mend does nothing where nothing is missing:

* `torchvision_ops`: torchvision's missing `nms` operators, where its compiled extension does not load (CPU torch);
* `mmcv_ext`: the operators of `mmcv._ext` that Mask R-CNN needs, where mmcv comes without compiled ones (mmcv-lite);
* `safe_loading`: the types in mmengine's own checkpoints, allowed by name for torch's safe loading;
* `pinned_samples`: mmengine's data samples in pinned memory, like tensors;
* `posterize`: the strongest step of timm's RandAugment, which Pillow 13 refuses.

setuptools >= 81 without pkg_resources needs no mend: only mmengine's `package::config` inheritance asks for it, which
no config here uses.
"""

from compat import mmcv_ext, pinned_samples, posterize, safe_loading, torchvision_ops

torchvision_ops.install()
mmcv_ext.install()
safe_loading.install()
pinned_samples.install()
posterize.install()
