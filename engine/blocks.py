"""The order of an epoch whose samples are too many to permute at once."""

import numpy as np

BLOCK = 8192  # samples that lie side by side and travel together: of the order of one shard


class BlockOrder:
    """Blocks of neighbouring samples in random order, then the samples of each `window` of blocks in random order.

    Position p of the epoch is a function of (size, seed, epoch, window, p) alone, found without what comes before. An
    epoch shows each sample once. Two samples of one block are at most a window apart, so mixing is coarser than a
    permutation's: a batch is drawn from the window's blocks (64 by a window of half a million), which change from
    epoch to epoch. Memory: 8 bytes a block, 16 a sample of the window; none for the other samples.

    Args:
        size: samples in all. seed, epoch: of the order.
        window: samples that are mixed; rounded up to whole blocks.
    """

    def __init__(self, size: int, seed: int, epoch: int, window: int) -> None:
        self.size, self.seed, self.epoch = size, seed, epoch
        self.per = max(1, -(-window // BLOCK))  # blocks of a window
        count = -(-size // BLOCK)
        self.blocks = np.random.default_rng([seed, epoch]).permutation(count)
        self.lacking = count * BLOCK - size  # samples that the last block has less than others
        self.short = int(np.flatnonzero(self.blocks == count - 1)[0]) // self.per  # the window that holds it
        self.current: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def start(self, window: int) -> int:
        """The first position of a window."""
        return window * self.per * BLOCK - (self.lacking if window > self.short else 0)

    def __getitem__(self, position: int) -> int:
        later = self.lacking if position >= self.start(self.short + 1) else 0
        window = (position + later) // (self.per * BLOCK)
        if window != self.current[0]:
            self.current = window, self.samples(window)
        return int(self.current[1][position - self.start(window)])

    def samples(self, window: int) -> np.ndarray:
        """The samples of a window in their order."""
        blocks = self.blocks[window * self.per : (window + 1) * self.per].tolist()
        held = np.concatenate([np.arange(b * BLOCK, min((b + 1) * BLOCK, self.size)) for b in blocks])
        return np.random.default_rng([self.seed, self.epoch, window]).permutation(held)
