"""Training samples in groups of one orientation, so that a batch is padded little: a function of (seed, epoch) too."""

from collections.abc import Iterator

import numpy as np
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Dataset

from engine.errors import UserError
from engine.order import AddressedSampler


@DATA_SAMPLERS.register_module()
class GroupedSampler(AddressedSampler):
    """Endless addresses in groups of `group` images that are all wider than high (or square) or all higher than wide.

    The order is that of mmdet's `AspectRatioBatchSampler` on the endless shuffled order: a group comes when the last of
    its images has come, and what an epoch leaves over waits for the next. So each image comes once for every epoch,
    and where a group stands follows from the counts of both orientations, without a look at the epochs before.

    Process r of w takes groups r, r + w, ...: with as many images a pass, any number of processes and passes trains on
    the same global batches.

    Args:
        dataset: its `shapes` are the heights and widths of its images, [N, 2].
        seed: the run's seed.
        group: images of one pass of one process.
    """

    def __init__(self, dataset: Dataset, seed: int, group: int) -> None:
        super().__init__(dataset, seed)
        if len(getattr(dataset, "shapes", ())) != self.size:
            raise UserError("train_cfg.by_aspect: this data set does not know the shapes of its images; leave it out")
        height, width = np.asarray(dataset.shapes).T
        self.wide, self.group = width >= height, group
        self.counts = {wide: int((self.wide == wide).sum()) for wide in (True, False)}

    def __iter__(self) -> Iterator[int]:
        number = self.start // self.group + self.rank
        current, groups = None, []
        while True:
            epoch = self.epoch_of(number)
            if epoch != current:
                current, groups = epoch, self.groups(epoch)
            yield from groups[number - self.groups_before(epoch)].tolist()
            number += self.world_size

    def groups_before(self, epoch: int) -> int:
        """How many groups are whole when an epoch begins."""
        return sum(epoch * count // self.group for count in self.counts.values())

    def epoch_of(self, number: int) -> int:
        """The epoch in which a group becomes whole."""
        epoch = number * self.group // self.size  # or later: what is left over makes groups come late
        while self.groups_before(epoch + 1) <= number:
            epoch += 1
        return epoch

    def groups(self, epoch: int) -> list[np.ndarray]:
        """The groups that become whole in an epoch, in that order; addresses, each [group]."""
        found = []
        for wide, count in self.counts.items():
            first, last = (e * count // self.group * self.group for e in (epoch, epoch + 1))
            if first == last:
                continue
            # The images of this orientation, epoch after epoch, are one stream, cut into groups.
            epochs = range(first // count, epoch + 1)
            orders = {e: np.asarray(self.order(e)) for e in epochs}
            stream = np.concatenate([e * self.size + orders[e][self.wide[orders[e]] == wide] for e in epochs])
            offset = epochs[0] * count
            places = np.flatnonzero(self.wide[orders[epoch]] == wide)  # of the stream's last part in the whole order
            for start in range(first, last, self.group):
                whole_at = places[start + self.group - 1 - epoch * count]
                found.append((whole_at, stream[start - offset : start - offset + self.group]))
        return [group for _, group in sorted(found, key=lambda pair: pair[0])]
