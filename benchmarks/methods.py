"""What each pretraining method costs beside the suite's own CLIP: parameters, passes, FLOPs, time of a step.

COMMAND   python -m benchmarks.methods [--scale paper] [--methods mae cae] [--batch 64] [--rounds 5]
COST      about 4 minutes at scale tiny; at scale paper use --batch 2 --rounds 1 on a CPU
EXPECTED  the tables in docs/methods.md

Batches are drawn at random in the shapes that the config's data set would give, texts of --words words; where a config
waits for its data (vocabulary, classes, tokenizer, parent), a stand-in of the same size takes their place. Steps of
CLIP and of the method alternate, and the ratio is the median over the pairs of one run.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from safetensors.torch import save_file
from timm.models import Beit, VisionTransformer
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import engine.parts  # noqa: F401
import pretrain  # noqa: F401
from backbones import build_encoder, parameter_count, save_checkpoint
from backbones.text import CLIP_VOCABULARY, END, START, tokenizer
from benchmarks import carry_out
from engine.config import DATA
from pretrain.base import PretrainMethod
from pretrain.tokenizer.dvae import Encoder as TokenEncoder
from pretrain.tokenizer.training import Recipe
from study.configure import load_config


@dataclass
class Passes:
    """Images that went through the encoder, a pass over part of the patches counting as that part."""

    with_gradient: float = 0.0
    without: float = 0.0


@dataclass
class Bench:
    """A method with one batch, ready to step."""

    name: str
    cfg: Config
    model: PretrainMethod
    inputs: dict[str, torch.Tensor]
    optimizer: object = field(init=False)

    def __post_init__(self) -> None:
        wrapper = self.cfg.optim_wrapper.to_dict()
        build = OPTIM_WRAPPER_CONSTRUCTORS.get(wrapper.pop("constructor"))
        self.optimizer = build(wrapper, wrapper.pop("paramwise_cfg", None))(self.model)

    def loss(self) -> torch.Tensor:
        """The sum of the losses of a forward pass."""
        prepared = self.model.data_preprocessor({"inputs": self.inputs}, True)
        return sum(v for k, v in self.model.losses(prepared["inputs"]).items() if "loss" in k)

    def step(self) -> float:
        """One whole update; its seconds."""
        start = time.perf_counter()
        self.model.before_step(0.5)
        self.optimizer.update_params(self.loss())
        self.model.after_step(0.5)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def flops(self) -> int:
        """Of forward and backward, matrix products and convolutions."""
        # The plain attention kernel is made of matrix products, which the counter knows on every device.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            self.loss().backward()
        self.model.zero_grad()
        return counter.get_total_flops()

    def passes(self) -> Passes:
        """Passes of the encoder and of its teachers per image, counted in whole images; zero for a hierarchical one."""
        found, batch = Passes(), len(next(iter(self.inputs.values())))
        teacher = getattr(self.model, "teacher", None)
        owners = [self.model, *([teacher.encoder] if hasattr(teacher, "encoder") else [])]
        towers = {t for owner in owners for t in owner.modules() if isinstance(t, (VisionTransformer, Beit))}

        def count(block: nn.Module, args: tuple, output: torch.Tensor) -> None:
            whole = self.model.encoder.patch_embed.num_patches + self.model.encoder.num_prefix_tokens
            share = output.shape[0] * output.shape[1] / whole / batch
            if torch.is_grad_enabled():
                found.with_gradient += share
            else:
                found.without += share

        hooks = [tower.blocks[0].register_forward_hook(count) for tower in towers]
        self.loss()
        for hook in hooks:
            hook.remove()
        return found


def build(
    name: str,
    scale: str,
    batch: int,
    words: int,
    folder: Path,
    encoder: dict | None = None,
    changes: dict | None = None,
) -> Bench:
    """A method of `pretrain/configs`, on another encoder if one is given and with `changes` to the model's other
    settings, with stand-ins for what its data fill in."""
    cfg = load_config(f"pretrain/configs/{name}.py", scale=scale)
    model = cfg.model
    model.update(changes or {})
    model.encoder = Config(encoder) if encoder else model.encoder
    if model.get("text", {}).get("vocabulary") == DATA:
        model.text.vocabulary = [tokenizer().decoder[k] for k in (*range(320, 446), START, END)]
    if "num_classes" in model and model.num_classes == DATA:
        model.num_classes = 100
    if model.get("tokenizer"):
        own = Recipe.of(model.tokenizer) if model.tokenizer.type == "dvae" else None
        encoder_of_tokens = TokenEncoder(own.vocabulary, own.width, own.depth) if own else TokenEncoder()  # DALL-E's
        save_file(encoder_of_tokens.state_dict(), folder / "tokens.safetensors")
        model.tokenizer = dict(type="dvae", file=str(folder / "tokens.safetensors"))
    if "parent" in cfg and pretrain.method_class(model.type).parent_role == "teacher":
        parent = load_config(f"pretrain/configs/{cfg.parent}.py", scale=scale)
        parent.model.encoder = Config(encoder) if encoder else parent.model.encoder
        model.teacher = stand_in(parent, folder / "teacher")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    method = MODELS.build(model).to(device).train()
    return Bench(name, cfg, method, draw(cfg, method, batch, words))


def stand_in(cfg: Config, folder: Path) -> str:
    """A checkpoint folder with the fresh encoder of a pretraining configuration."""
    encoder = dict(name=cfg.model.encoder.name, kwargs=cfg.model.encoder.get("kwargs", {}))
    cost = dict(wall_s=None, samples_per_s=None, peak_memory_mib=None, hardware=None)
    image = dict(mean=[0.5] * 3, std=[0.5] * 3, size=cfg.train_dataloader.dataset.size)
    meta = dict(
        method=cfg.method, captions=None, seed=0, scale=cfg.scale, encoder=encoder, data=dict(name="none", samples=0),
        image=image, samples_seen=0, updates=0,
        config_hash=cfg.config_hash, code_version="none", parent=None, ledger=None, cost=cost, text=None,
    )  # fmt: skip
    save_checkpoint(folder, build_encoder(**encoder), meta)
    return str(folder)


def draw(cfg: Config, method: PretrainMethod, batch: int, words: int) -> dict[str, torch.Tensor]:
    """Random views, texts, labels, tags and dense labels in the shapes of the config's data set."""
    data, rng = cfg.train_dataloader.dataset, np.random.default_rng(0)
    device = next(method.parameters()).device
    size, found = data.size, {}
    for name, view in data.views.items():
        count = [view.count] if view.get("count") else []
        side = view.get("size", size)
        found[name] = rng.integers(0, 256, (batch, *count, 3, side, side), dtype=np.uint8)
    for name in (key for key in method.needs if key.startswith("tokens")):
        found[name] = np.full((batch, words + 2), START)
        found[name][:, 1:-1] = rng.integers(320, 440 if "text" in cfg.model else CLIP_VOCABULARY - 2, (batch, words))
        found[name][:, -1] = END
        if cfg.train_dataloader.collate_fn.get("packed"):
            found[f"valid_{name}"] = np.arange(found[name].size)  # they are all of one length
    if "label" in method.needs:
        found["label"] = rng.integers(0, 6, batch)
    if "tags" in method.needs:
        found["tags"] = np.where(np.arange(32) < 5, rng.integers(0, 100, (batch, 32)), -1)
    if "seg" in method.needs:
        maps = dict(seg=rng.integers(0, 8, (batch, size, size)), depth=rng.random((batch, size, size), np.float32) + 1,
                    thing=rng.random((batch, size, size)) < 0.2,
                    offset=rng.random((batch, 2, size, size), np.float32))  # fmt: skip
        found |= maps
    return {name: torch.from_numpy(np.ascontiguousarray(value)).to(device) for name, value in found.items()}


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = sorted(path.stem for path in Path("pretrain/configs").glob("*.py"))
    parser.add_argument("--scale", default="tiny")
    parser.add_argument("--methods", nargs="+", choices=known, default=[n for n in known if n not in ("random",)])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--words", type=int, default=16, help="words of a caption")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of steps to time; 0 leaves the time out")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    print(f"Scale {args.scale}, batches of {args.batch}, captions of {args.words} words.\n")
    print("| method | encoder | trained parameters | passes with gradient | without | FLOPs / CLIP | "
          "time / CLIP | ms a step |\n|---|---|---:|---:|---:|---:|---:|---:|", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        clip = build("clip", args.scale, args.batch, args.words, Path(folder))
        reference = clip.flops()
        for name in args.methods:
            bench = build(name, args.scale, args.batch, args.words, Path(folder))
            passes, flops = bench.passes(), bench.flops()
            pairs = [(clip.step(), bench.step()) for _ in range(args.rounds + 1)][1:]  # the first warms up
            ratio = f"{median(b / a for a, b in pairs):.2f}" if pairs else "–"
            spent = f"{1000 * median(b for _, b in pairs):.0f}" if pairs else "–"
            trained = parameter_count(nn.ParameterList(p for p in bench.model.parameters() if p.requires_grad))
            shown = [f"{v:.2f}" if v else "–" for v in (passes.with_gradient, passes.without)]
            print(f"| {name} | {bench.model.encoder_cfg['name']} | {trained:,} | {' | '.join(shown)} | "
                  f"{flops / reference:.2f} | {ratio} | {spent} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    carry_out(main)
