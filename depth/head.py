"""The depth head of MIM-Depth-Estimation (Xie et al., CVPR 2023, after GLPDepth), for mmseg's `DepthEstimator`."""

import math

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from depth.loss import silog_loss

DECONV_CHANNELS = 32
MAX_DECONVS = 3


def upsampling_plan(feature_stride: int) -> tuple[int, list[float]]:
    """Return (number of x2 deconvolutions, factors of the bilinear steps) that lead from the map to full resolution.

    Three deconvolutions at most, the rest bilinear in steps of two and one last step for what remains:
    stride 4: (2, []), 8: (3, []), 14: (3, [1.75]), 16: (3, [2]), 32: (3, [2, 2]).
    """
    deconvs = min(MAX_DECONVS, int(math.log2(feature_stride)))
    rest = feature_stride / 2**deconvs
    factors = []
    while rest > 1:
        factors.append(min(2.0, rest))
        rest /= factors[-1]
    return deconvs, factors


def fit_to(depth: Tensor, height: int, width: int) -> Tensor:
    """Cut or extend [B, 1, h, w] at its right and lower edge to [B, 1, height, width].

    Encoders pad or drop a part of a patch at those two edges when the size is no multiple of the stride, so that the
    upper left corner is the one that stays in place; stretching would shift every pixel.
    """
    depth = depth[..., :height, :width]
    missing = (0, width - depth.shape[-1], 0, height - depth.shape[-2])
    return F.pad(depth, missing, mode="replicate") if any(missing) else depth


@MODELS.register_module()
class DepthHead(BaseDecodeHead):
    """Turn one feature map into metric depth at full resolution.

    n x [ConvTranspose 2x2 stride 2 -> 32, no bias, BN, ReLU] -> Conv 3x3 -> `embed_dim`, BN, ReLU -> bilinear steps ->
    Conv 3x3, ReLU, Conv 3x3 -> 1 -> `max_depth` * sigmoid. The original has stride 32, three deconvolutions and two
    bilinear steps, and its code does not say what a ViT of stride 16 drops. Here the deconvolutions stay and the
    bilinear steps give way: stride 32: 3 + 2, stride 16: 3 + 1, stride 8 (the tiny ViT): 3 + 0 (`upsampling_plan`).
    Every convolution starts from N(0, 0.001), every bias from 0.

    Args:
        in_channels: channels of the map that is read.
        feature_stride: its stride in input pixels.
        in_index: which of the backbone's maps is read; the others are ignored.
        embed_dim: width at full resolution, and most of the head's time.
        max_depth: metres; the largest depth that can be predicted, and the bound above which labels are not used.
    """

    # What mmseg's EncoderDecoder reads from a head.
    num_classes = 1
    out_channels = 1
    align_corners = False

    def __init__(
        self, in_channels: int, feature_stride: int, in_index: int = -1, embed_dim: int = 192, max_depth: float = 10.0
    ) -> None:
        # The parent's constructor builds a classifier, its dropout and a class loss; a regressor has none of them.
        super(BaseDecodeHead, self).__init__(
            init_cfg={"type": "Normal", "layer": ["Conv2d", "ConvTranspose2d"], "std": 1e-3}
        )
        self.in_channels = in_channels
        self.feature_stride = feature_stride
        self.in_index = in_index
        self.max_depth = max_depth
        deconvs, self.bilinear_factors = upsampling_plan(feature_stride)
        layers: list[nn.Module] = []
        channels = in_channels
        for _ in range(deconvs):
            layers += [
                nn.ConvTranspose2d(channels, DECONV_CHANNELS, 2, stride=2, bias=False),
                nn.BatchNorm2d(DECONV_CHANNELS),
                nn.ReLU(inplace=True),
            ]
            channels = DECONV_CHANNELS
        layers += [nn.Conv2d(channels, embed_dim, 3, padding=1), nn.BatchNorm2d(embed_dim), nn.ReLU(inplace=True)]
        self.decoder = nn.Sequential(*layers)
        self.regressor = nn.Sequential(
            nn.Conv2d(embed_dim, embed_dim, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(embed_dim, 1, 3, padding=1)
        )

    def extra_repr(self) -> str:
        """What `print` shows of it; the parent's speaks of a classifier."""
        return f"in_index={self.in_index}, feature_stride={self.feature_stride}, max_depth={self.max_depth}"

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return depth [B, 1, h * stride, w * stride] in metres from the pyramid; the map read is [B, C, h, w]."""
        # Channels last takes a quarter less time for narrow convolutions on CPU, and suits GPUs at half precision.
        features = inputs[self.in_index].contiguous(memory_format=torch.channels_last)
        x = self.decoder(features)  # [B, embed_dim, h * 2^deconvs, w * 2^deconvs]
        for step, factor in enumerate(self.bilinear_factors):
            last = step + 1 == len(self.bilinear_factors)
            # The last step names its size, so that no rounding of an odd factor can lose a row.
            size = [
                self.feature_stride * n if last else int(factor * m)
                for n, m in zip(features.shape[-2:], x.shape[-2:], strict=True)
            ]
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        # float32 under autocast: half precision resolves ten metres in steps of up to a centimetre.
        return self.max_depth * torch.sigmoid(self.regressor(x).float())

    def loss_by_feat(self, depth: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """Return {"loss_silog": scalar} for depth [B, 1, h, w] against the samples' `gt_depth_map` [1, H, W]."""
        target = torch.stack([sample.gt_depth_map.data for sample in batch_data_samples])  # [B, 1, H, W]
        return {"loss_silog": silog_loss(fit_to(depth, *target.shape[-2:]), target, self.max_depth)}

    def predict(self, inputs: tuple[Tensor, ...], batch_img_metas: list[dict], test_cfg: dict) -> Tensor:
        """Return depth [B, 1, H, W] at the size of the network's input, padding included."""
        meta = batch_img_metas[0]
        # In sliding windows mmseg states the window's size as a torch.Size in `img_shape`.
        padded = "pad_shape" in meta and not isinstance(meta["img_shape"], torch.Size)
        height, width = (meta["pad_shape"] if padded else meta["img_shape"])[:2]
        return fit_to(self.forward(inputs), height, width)
