"""Text: CLIP's byte-pair tokens, the compact vocabulary of small data, and the text transformer.

Everywhere outside `TextTower`, a caption is its row of CLIP token ids: start, words, end, then zeros. The tower maps
them to its own vocabulary, so that data, checkpoints and zero-shot prompts share one token format.
"""

from collections.abc import Container, Iterable
from functools import cache, lru_cache, partial
from typing import Literal

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from timm.layers import LayerNorm, get_act_layer
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from backbones.packed import Packing, run_packed
from engine.errors import UserError

CLIP_VOCABULARY = 49408
START, END = 49406, 49407


@cache
def tokenizer() -> SimpleTokenizer:
    """CLIP's lower-casing byte-pair tokenizer; its merges ship with open_clip."""
    return SimpleTokenizer()


@lru_cache(maxsize=1 << 17)  # captions return every epoch, and cleaning a text costs more than decoding a small image
def token_ids(caption: str) -> tuple[int, ...]:
    """CLIP's token ids of a caption, without start and end."""
    return tuple(tokenizer().encode(caption))


def tokenize(caption: str, context: int) -> np.ndarray:
    """Caption -> int64 [context]: start, tokens, end, zeros; a longer text is cut and still ends with the end token."""
    ids = token_ids(caption)[: context - 2]
    row = np.zeros(context, np.int64)
    row[0], row[1 : 1 + len(ids)], row[1 + len(ids)] = START, ids, END
    return row


def compact_vocabulary(captions: Iterable[str], known: Iterable[str] = ()) -> list[str]:
    """The tokens that occur in `captions` and those in `known`, start and end included, in the order of CLIP's ids."""
    found = {START, END, *(tokenizer().encoder[token] for token in known)}
    for caption in captions:
        found.update(token_ids(caption))
    return [tokenizer().decoder[token] for token in sorted(found)]


class TextTower(nn.Module):
    """CLIP's text transformer: pre-norm blocks, causal, read at the end token, normed, projected (Radford et al. 2021).

    Args:
        embed_dim: width of the shared space.
        vocabulary: "clip" for all 49,408 tokens, or the list of those to keep; all others become one unknown token.
            One more stands for [MASK].
        context: longest row of tokens; width, layers, heads: of the transformer.
        act: "gelu" or "quick_gelu" (x sigmoid(1.702 x), OpenAI's and SLIP's text tower).
        eps: of the blocks' norms; 1e-5 in the towers of OpenAI, open_clip and SLIP.
        causal: whether a token sees only those before it; False in MobileCLIP-S, where all tokens see the padding too,
            so that rows must have the full context.
    """

    def __init__(
        self,
        embed_dim: int,
        vocabulary: Literal["clip"] | list[str] = "clip",
        context: int = 77,
        width: int = 512,
        layers: int = 12,
        heads: int = 8,
        act: str = "gelu",
        eps: float = 1e-6,
        causal: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(vocabulary, str) and vocabulary != "clip":
            raise UserError(
                f"text.vocabulary is {vocabulary!r}: give 'clip' or a list of CLIP's tokens; '<data>' is resolved by "
                "pretrain.fill(cfg), which tools/train.py calls"
            )
        self.vocabulary = vocabulary if vocabulary == "clip" else list(vocabulary)
        self.context, self.width, self.embed_dim, self.causal = context, width, embed_dim, causal
        self.kwargs = {"context": context, "width": width, "layers": layers, "heads": heads, "act": act}
        self.kwargs |= {"eps": eps, "causal": causal}
        self.register_buffer("lookup", self.build_lookup(), persistent=False)
        self.mask_id = int(self.lookup.max()) + 1
        self.size = self.mask_id + 1

        self.token_embedding = nn.Embedding(self.size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        activation = get_act_layer(act)
        norm = partial(LayerNorm, eps=eps)
        self.blocks = nn.ModuleList(
            Block(width, heads, qkv_bias=True, act_layer=activation, norm_layer=norm) for _ in range(layers)
        )
        self.ln_final = nn.LayerNorm(width)
        self.projection = nn.Linear(width, embed_dim, bias=False)
        self.reset_parameters()

    def build_lookup(self) -> Tensor:
        """CLIP id [49408] -> own id."""
        if self.vocabulary == "clip":
            return torch.arange(CLIP_VOCABULARY)
        lookup = torch.full((CLIP_VOCABULARY,), len(self.vocabulary))  # the unknown id
        ids = [tokenizer().encoder[token] for token in self.vocabulary]
        lookup[torch.tensor(ids)] = torch.arange(len(ids))
        return lookup

    def known(self) -> Container[int]:
        """The CLIP ids that have a place of their own in the vocabulary."""
        if self.vocabulary == "clip":
            return range(CLIP_VOCABULARY)
        return {tokenizer().encoder[token] for token in self.vocabulary}

    def reset_parameters(self) -> None:
        """CLIP's initial standard deviations, by width and depth."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        init_blocks(self.blocks, self.width)
        nn.init.normal_(self.projection.weight, std=self.width**-0.5)

    def own_ids(self, tokens: Tensor) -> Tensor:
        """CLIP ids [B, T] -> ids of this tower's vocabulary."""
        return self.lookup[tokens]

    def token_features(self, ids: Tensor, causal: bool | None = None, valid: Tensor | None = None) -> Tensor:
        """Own ids [B, T] -> features of all tokens [B, T, width], after the final norm.

        `causal` is the tower's own where none is given. A causal pass needs no padding mask, since padding follows the
        text; otherwise `valid` [B, T] names the tokens that may be attended.
        """
        return self.ln_final(self.run_blocks(self.embed(ids), causal=causal, valid=valid))

    def embed(self, ids: Tensor) -> Tensor:
        """Own ids [B, T] -> embedded tokens [B, T, width], positions added."""
        return self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]

    def run_blocks(
        self,
        x: Tensor,
        start: int = 0,
        stop: int | None = None,
        causal: bool | None = None,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Tokens [B, T, width] through the blocks start, ..., stop - 1, without the final norm.

        `causal` and `valid` as in `token_features`.
        """
        causal = self.causal if causal is None else causal
        attn_mask = None if causal or valid is None else valid[:, None, None, :]  # [B, 1, 1, T]
        for block in self.blocks[start:stop]:
            x = block(x, attn_mask=attn_mask, is_causal=causal)
        return x

    def pool(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Features [B, T, width] at the end token of CLIP ids [B, T], projected -> [B, embed_dim]."""
        end = end_positions(tokens)
        return self.projection(features[torch.arange(len(features), device=features.device), end])

    def embed_packed(self, ids: Tensor, packing: Packing) -> Tensor:
        """Own ids [S, T] -> embedded tokens [R, width] of the places that hold one, positions added."""
        positions = self.positional_embedding[packing.places % packing.width]
        return self.token_embedding(ids.flatten().index_select(0, packing.places)) + positions

    def forward(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """CLIP ids [B, T] -> caption embeddings [B, embed_dim], not normalised.

        With `valid` [R], the places of `tokens` that hold a start, a word or an end, a causal tower skips the others
        (`backbones.packed`).
        """
        if valid is None or not self.causal:
            return self.pool(self.token_features(self.own_ids(tokens)), tokens)
        packing = Packing(*tokens.shape, valid)
        ends = end_numbers(tokens, packing)
        x = run_packed(self.blocks, self.embed_packed(self.own_ids(tokens), packing), packing, True, ends)
        return self.projection(self.ln_final(x))

    def meta(self) -> dict:
        """What checkpoint.json says about the tower, enough to build it again."""
        return {"kwargs": self.kwargs, "vocabulary": self.vocabulary, "embed_dim": self.embed_dim}


def init_blocks(blocks: nn.ModuleList, width: int) -> None:
    """CLIP's initialisation of pre-norm blocks: projections back to the stream shrink with the depth."""
    for block in blocks:
        nn.init.normal_(block.attn.qkv.weight, std=width**-0.5)
        nn.init.normal_(block.attn.proj.weight, std=width**-0.5 * (2 * len(blocks)) ** -0.5)
        nn.init.normal_(block.mlp.fc1.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(block.mlp.fc2.weight, std=width**-0.5 * (2 * len(blocks)) ** -0.5)
        for layer in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
            nn.init.zeros_(layer.bias)


def end_positions(tokens: Tensor) -> Tensor:
    """CLIP ids [B, T] -> position of the first end token [B]."""
    return (tokens == END).int().argmax(dim=1)


def end_numbers(tokens: Tensor, packing: Packing) -> Tensor:
    """CLIP ids [B, T] -> the number [B] of each caption's first end token among the packed ones."""
    first = torch.arange(0, tokens.numel(), packing.width, device=tokens.device)
    return packing.numbers().index_select(0, first + end_positions(tokens))


def valid_tokens(tokens: Tensor) -> Tensor:
    """CLIP ids [B, T] -> bool [B, T]: start, words and end, but no padding."""
    return torch.arange(tokens.shape[1], device=tokens.device) <= end_positions(tokens).unsqueeze(1)


def word_tokens(tokens: Tensor) -> Tensor:
    """CLIP ids [B, T] -> bool [B, T]: neither start, nor end, nor padding."""
    position = torch.arange(tokens.shape[1], device=tokens.device)
    return (position < end_positions(tokens).unsqueeze(1)) & (tokens != START)
