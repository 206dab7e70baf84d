"""Masked language modelling on a text tower: choose words, hide them, name them."""

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from backbones.packed import Packing, run_packed
from backbones.text import TextTower, end_numbers, init_blocks, valid_tokens, word_tokens
from pretrain.parts.masking import take


class ChosenWords(NamedTuple):
    """Positions to predict: index [B, K]; weight [B, K], 1 / n for each of a caption's n chosen words, else 0."""

    index: Tensor
    weight: Tensor


def choose_words(words: Tensor, ratio: float) -> ChosenWords:
    """Choose round(ratio * words) words of each caption, at least one, uniformly; a caption without words gets none.

    Args:
        words: bool [B, T], true at tokens that may be chosen; the first and the last column hold none.
        ratio: share of a caption's words.

    The shapes depend on T alone, so the device is never asked how many were chosen.
    """
    most = max(1, int(ratio * (words.shape[1] - 2) + 0.5))
    length = words.sum(dim=1, keepdim=True)  # [B, 1]
    count = (ratio * length + 0.5).long().clamp(min=1).minimum(length)
    noise = torch.rand(words.shape, device=words.device).masked_fill(~words, 2.0)
    index = noise.argsort(dim=1)[:, :most]  # [B, K]
    chosen = torch.arange(most, device=words.device) < count
    return ChosenWords(index, chosen / count.clamp(min=1))


def most_words(words: int, captions: int, ratio: float) -> int:
    """What `choose_words` can choose at most in so many captions of so many words together.

    A caption of n > 0 words gives max(1, floor(ratio * n + 1/2)) <= ratio * n + max(1/2, 1 - ratio).
    """
    return min(words, int(ratio * words + max(0.5, 1 - ratio) * captions) + 1)  # one for what rounding takes


def corrupt_words(ids: Tensor, chosen: ChosenWords, mask_id: int, shares: tuple[float, float, float]) -> Tensor:
    """Own ids [B, T] with each chosen word turned into [MASK], into a random token, or kept, drawn with `shares`."""
    as_mask, as_random, _ = shares
    old = ids.gather(1, chosen.index)  # [B, K]
    new = torch.full_like(old, mask_id)
    if as_mask < 1:
        lot = torch.rand(old.shape, device=old.device)
        new = torch.where(lot < as_mask, new, torch.randint_like(old, mask_id))
        new = torch.where(lot < as_mask + as_random, new, old)
    return ids.scatter(1, chosen.index, torch.where(chosen.weight > 0, new, old))


def word_loss(scores: Tensor, ids: Tensor, chosen: ChosenWords) -> Tensor:
    """Scores [B, K, size] of the chosen words against their own ids [B, T].

    L = mean over captions of -1/n sum over a caption's n chosen words of log p(word).
    """
    target = ids.gather(1, chosen.index)
    loss = F.cross_entropy(scores.flatten(0, 1).float(), target.flatten(), reduction="none").view_as(target)
    return (loss * chosen.weight).sum(dim=1).mean()


class MaskedLanguageModel(nn.Module):
    """MaskCLIP's text branch: the text tower on a masked caption, a bidirectional decoder, a classifier of tokens.

    Args:
        tower: the text tower, for its sizes; it is passed again to `forward` and not held here.
        ratio: share of words to predict.
        depth: layers of the decoder, whose norms have the tower's epsilon.
        causal: whether the tower reads the masked caption causally, as it reads the full one. Not stated in the paper;
            causal lets both captions share one pass, and the decoder sees both directions anyway.
        corruption: shares of chosen words that become [MASK], a random token, or stay. Not stated in the paper; all
            [MASK] by default, (0.8, 0.1, 0.1) is BERT's.
    """

    def __init__(
        self,
        tower: TextTower,
        ratio: float = 0.2,
        depth: int = 4,
        causal: bool = True,
        corruption: tuple[float, float, float] = (1.0, 0.0, 0.0),
    ) -> None:
        super().__init__()
        self.ratio, self.causal, self.corruption = ratio, causal, tuple(corruption)
        heads = tower.kwargs["heads"]
        norm = partial(LayerNorm, eps=tower.kwargs["eps"])
        self.blocks = nn.ModuleList(Block(tower.width, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth))
        init_blocks(self.blocks, tower.width)
        self.norm = nn.LayerNorm(tower.width)
        self.classifier = nn.Linear(tower.width, tower.size)
        nn.init.normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, tower: TextTower, tokens: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """CLIP ids [B, T] -> caption embeddings [B, E] of the full text, and the loss on the masked one.

        With `valid` [R], the places of `tokens` that are not padding, no layer sees padding and the classifier hardly
        more than the chosen words. The masked caption's tokens before its first masked word are those of the full one,
        a fifth of them at 20 tokens, and are computed again: only the device knows how many they are.
        """
        ids = tower.own_ids(tokens)
        chosen = choose_words(word_tokens(tokens), self.ratio)
        masked = self.corrupt(ids, chosen, tower)
        if valid is not None and self.causal and tower.causal:
            return self.packed(tower, tokens, Packing(*tokens.shape, valid), torch.cat([ids, masked]), chosen)
        if self.causal:
            full, hidden = tower.token_features(torch.cat([ids, masked])).chunk(2)  # one pass: [2B, T, W]
        else:
            full = tower.token_features(ids)
            hidden = tower.token_features(masked, causal=False, valid=valid_tokens(tokens))
        scores = self.predict(hidden, tokens, chosen)  # [B, K, size]
        return tower.pool(full, tokens), word_loss(scores, ids, chosen)

    def packed(
        self, tower: TextTower, tokens: Tensor, packing: Packing, both: Tensor, chosen: ChosenWords
    ) -> tuple[Tensor, Tensor]:
        """What `forward` returns, from own ids [2B, T] of the full and the masked captions, without their padding."""
        batch, width, valid = packing
        twice = Packing(2 * batch, width, torch.cat([valid, valid + batch * width]))
        count = torch.arange(len(valid), device=valid.device)
        wanted = torch.cat([end_numbers(tokens, packing), count + len(valid)])  # of the full captions the ends alone
        x = tower.ln_final(run_packed(tower.blocks, tower.embed_packed(both, twice), twice, True, wanted))
        words = torch.arange(batch, device=valid.device).unsqueeze(1) * width + chosen.index  # [B, K] places
        weight = chosen.weight.flatten()
        most = most_words(len(valid) - 2 * batch, batch, self.ratio)
        first = (weight == 0).int().argsort(stable=True)[:most]  # the chosen ones; then some of weight 0
        places, weight = words.flatten().index_select(0, first), weight.index_select(0, first)
        numbers = packing.numbers().index_select(0, places)
        hidden = run_packed(self.blocks, x[batch:], packing, False, numbers)  # [M, W]
        target = both.flatten().index_select(0, places)  # of the full captions
        loss = F.cross_entropy(self.classifier(self.norm(hidden)).float(), target, reduction="none")
        return tower.projection(x[:batch]), (loss * weight).sum() / batch

    def corrupt(self, ids: Tensor, chosen: ChosenWords, tower: TextTower) -> Tensor:
        """Own ids [B, T] with the chosen words replaced."""
        return corrupt_words(ids, chosen, tower.mask_id, self.corruption)

    def predict(self, hidden: Tensor, tokens: Tensor, chosen: ChosenWords) -> Tensor:
        """Tower features [B, T, W] -> scores [B, K, size] at the chosen positions only."""
        mask = valid_tokens(tokens)[:, None, None, :]  # [B, 1, 1, T]: padding is not attended
        for block in self.blocks:
            hidden = block(hidden, attn_mask=mask)
        return self.classifier(self.norm(take(hidden, chosen.index)))
