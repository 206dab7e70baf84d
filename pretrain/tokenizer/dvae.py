"""Discrete VAE of DALL-E (Ramesh et al. 2021; openai/DALL-E): its encoder under its own names, and a small decoder.

The encoder turns an image into one row of scores over the vocabulary for each 8 x 8 pixels. In training the scores are
relaxed by Gumbel-softmax and a decoder paints the image from the mixture of code vectors; afterwards the token of a
place is the best score's number.
"""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

REDUCTION = 8
EPS = 0.1  # of map_pixels


def map_pixels(pixels: Tensor) -> Tensor:
    """uint8 [B, 3, h, w] -> (1 - 2 * 0.1) x + 0.1 with x in [0, 1], what the encoder was trained on."""
    return pixels.float() * ((1 - 2 * EPS) / 255) + EPS


class Conv(nn.Module):
    """Convolution that keeps the size; its tensors are called `w` and `b`.

    Args:
        n_in, n_out: channels; size: odd side of the kernel.
    """

    def __init__(self, n_in: int, n_out: int, size: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.empty(n_out, n_in, size, size).normal_(std=(n_in * size**2) ** -0.5))
        self.b = nn.Parameter(torch.zeros(n_out))
        self.padding = (size - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        """[B, n_in, h, w] -> [B, n_out, h, w]."""
        return F.conv2d(x, self.w, self.b, padding=self.padding)


class Block(nn.Module):
    """Bottleneck of four convolutions beside an identity path; its share is 1 / (number of blocks)^2.

    Args:
        n_in, n_out: channels, the middle has n_out / 4; blocks: blocks of the whole network; sizes: kernel sides.
    """

    def __init__(self, n_in: int, n_out: int, blocks: int, sizes: tuple[int, ...] = (3, 3, 3, 1)) -> None:
        super().__init__()
        widths = (n_in, n_out // 4, n_out // 4, n_out // 4, n_out)
        self.gain = 1 / blocks**2
        self.id_path = Conv(n_in, n_out, 1) if n_in != n_out else nn.Identity()
        path = OrderedDict()
        for k, size in enumerate(sizes):
            path[f"relu_{k + 1}"] = nn.ReLU()
            path[f"conv_{k + 1}"] = Conv(widths[k], widths[k + 1], size)
        self.res_path = nn.Sequential(path)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n_in, h, w] -> [B, n_out, h, w]."""
        return self.id_path(x) + self.gain * self.res_path(x)


class Encoder(nn.Module):
    """Mapped pixels [B, 3, h, w] -> scores [B, vocabulary, h / 8, w / 8].

    Args:
        vocabulary: number of tokens; 8192 as published.
        width: channels of the first group, a multiple of 4, doubled in each further one; 256 as published.
        depth: blocks of each of the four groups; 2 as published.
    """

    def __init__(self, vocabulary: int = 8192, width: int = 256, depth: int = 2) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        parts = OrderedDict(input=Conv(3, width, 7))
        before = width
        for group in range(4):
            after = width * 2**group
            blocks = OrderedDict()
            for k in range(depth):
                blocks[f"block_{k + 1}"] = Block(before if k == 0 else after, after, 4 * depth)
            if group < 3:
                blocks["pool"] = nn.MaxPool2d(2)
            parts[f"group_{group + 1}"] = nn.Sequential(blocks)
            before = after
        parts["output"] = nn.Sequential(OrderedDict(relu=nn.ReLU(), conv=Conv(before, vocabulary, 1)))
        self.blocks = nn.Sequential(parts)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.blocks(x)


class Decoder(nn.Module):
    """Mixtures of code vectors [B, vocabulary, h / 8, w / 8] -> mapped pixels [B, 3, h, w].

    It works on the grid of tokens and paints each token's 8 x 8 pixels at once, where DALL-E's climbs through four
    resolutions: it is thrown away after training, and the encoder's training is to be cheap.

    Args:
        vocabulary: number of tokens; width: channels, a multiple of 4; depth: blocks.
    """

    def __init__(self, vocabulary: int, width: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.codes = Conv(vocabulary, width, 1)
        self.blocks = nn.Sequential(*(Block(width, width, depth, sizes=(1, 3, 3, 3)) for _ in range(depth)))
        self.paint = Conv(width, 3 * REDUCTION**2, 1)

    def forward(self, mixture: Tensor) -> Tensor:
        """See the class."""
        return F.pixel_shuffle(self.paint(self.blocks(self.codes(mixture)).relu()), REDUCTION)


class DVAE(nn.Module):
    """Encoder and decoder in training.

    Args:
        vocabulary, width, depth: of the encoder.
    """

    def __init__(self, vocabulary: int, width: int, depth: int) -> None:
        super().__init__()
        self.encoder = Encoder(vocabulary, width, depth)
        self.decoder = Decoder(vocabulary)

    @torch.no_grad()
    def start_from(self, x: Tensor, sharpness: float = 80.0) -> None:
        """Begin with tokens that differ, from mapped pixels [B, 3, h, w].

        Drawn at random, the scores of all places are nearly alike and the decoder's noise is least when all take one
        token: within a few dozen steps they do. So each token starts as the feature f_k of a place of the data, with
        scores -|f - f_k|^2 up to a common term (`sharpness` is their mean), code vectors of unit variance, and a
        decoder that starts near the mean colour.
        """
        output = self.encoder.blocks.output.conv
        features = self.encoder.blocks[:-1](x).relu().permute(0, 2, 3, 1).flatten(0, 2)  # [B * h / 8 * w / 8, D]
        mean, vocabulary = features.mean(dim=0), self.encoder.vocabulary
        places = torch.randperm(max(len(features), vocabulary))[:vocabulary] % len(features)
        codes = features[places]  # [K, D]
        scale = sharpness / torch.cdist(features, codes).square().mean()
        centred = codes - mean
        output.w.copy_(2 * scale * centred[:, :, None, None])
        output.b.copy_(-scale * (centred.square().sum(dim=1) + 2 * centred @ mean))
        self.decoder.codes.w.normal_()
        self.decoder.paint.w.mul_(0.1)
        self.decoder.paint.b.copy_(x.mean(dim=(0, 2, 3)).repeat_interleave(REDUCTION**2))

    def forward(self, x: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Mapped pixels [B, 3, h, w] -> mean squared error, and mean KL(q || uniform) of a place in nats."""
        scores = self.encoder(x)  # [B, K, h / 8, w / 8]
        mixture = F.gumbel_softmax(scores, tau=temperature, dim=1)
        log_share = scores.log_softmax(dim=1)
        divergence = (log_share.exp() * (log_share + math.log(self.encoder.vocabulary))).sum(dim=1).mean()
        return F.mse_loss(self.decoder(mixture), x), divergence
