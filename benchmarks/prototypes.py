"""DINO's prototypes: torch's fused weight norm beside F.normalize, for the head alone and for a whole step.

COMMAND   python -m benchmarks.prototypes [--codes 65536] [--batch 4] [--rounds 7]
COST      about two minutes on one core
EXPECTED  the largest difference of scores and gradients, then the table in docs/speed.md

The student is ViT-S/16 at 224 x 224 with two global views and eight local crops of 96, the published smaller model.
"""

import argparse
import os

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import carry_out
from benchmarks.pairs import interleaved
from pretrain.methods.dino import DINO
from pretrain.parts.heads import Quantizer


class Plain(Quantizer):
    """The same head with the prototypes normalised by F.normalize."""

    def forward(self, x: Tensor) -> Tensor:
        """Features [..., width] -> scores [..., K] in [-1, 1]."""
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(self.prototypes, dim=-1))


def step(model: DINO, inputs: dict[str, Tensor]) -> None:
    """Forward and backward."""
    model.losses(inputs)["loss_code"].backward()
    model.zero_grad()


def main() -> None:
    """Print differences and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=65536, help="prototypes (default %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="images of a step (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="pairs (default %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    model = DINO({"name": "vit_small_patch16_224", "kwargs": {}}, {"codes": args.codes})
    fused, inputs = model.head, {name: torch.randn(args.batch, 3, 224, 224) for name in ("image_1", "image_2")}
    inputs["image_local"] = torch.randn(args.batch, 8, 3, 96, 96)
    plain = Plain(384, codes=args.codes)
    plain.load_state_dict(fused.state_dict())
    features = torch.randn(10 * args.batch, 384)
    found = []
    for head in (fused, plain):
        scores = head(features)
        found.append((scores.detach(), *torch.autograd.grad(scores.square().sum(), list(head.parameters()))))
    apart = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(*found, strict=True)]
    print(f"scores are apart by {apart[0]:.1e} of the largest, gradients by {max(apart[1:]):.1e}\n")
    heads = {"weight norm": fused, "F.normalize": plain}
    alone = interleaved(
        {name: lambda h=head: h(features).sum().backward() for name, head in heads.items()}, args.rounds
    )

    def whole(name: str) -> None:
        model.head, model.head_teacher.module = heads[name], heads[name]
        step(model, inputs)

    steps = interleaved({name: lambda n=name: whole(n) for name in heads}, args.rounds)
    print("| what | F.normalize, s | weight norm, s | ratio |\n|---|---:|---:|---:|")
    for what, pairs in (("head, forward and backward", alone), ("step of DINO ViT-S", steps)):
        seconds = [f"{pairs.median(name):.3f}" for name in ("F.normalize", "weight norm")]
        print(f"| {what} | {' | '.join(seconds)} | {pairs.shown('F.normalize', 'weight norm')} |", flush=True)


if __name__ == "__main__":
    carry_out(main)
