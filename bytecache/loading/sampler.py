"""The order of an epoch as a torch sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized

import numpy as np
from torch.utils.data import Sampler

from ..system.arguments import check_int
from .epochs import epoch_order


class EpochSampler(Sampler[int]):
    """A sampler of the indices 0 to n - 1, in an order that is a pure function of (seed, epoch).

    n: the dataset, or its length. With an ``ImageDataset`` and ``num_workers=0``, the next batch is read and decoded on
    threads while the last one is used. Call ``set_epoch(epoch)`` before each epoch; otherwise the order is that of the
    last one. world, rank: as with DistributedSampler, each of `world` processes gets every `world`-th index, starting
    with the `rank`-th; if they cannot be divided evenly, the first ones come twice. Raises TypeError or ValueError if a
    number is out of range.
    """

    def __init__(self, n: int | Sized, *, seed: int, rank: int = 0, world: int = 1, shuffle: bool = True) -> None:
        self._follow: Callable[[list[int]], Iterator[int]] = getattr(n, "follow", iter)
        self._n = check_int(len(n) if isinstance(n, Sized) else n, "n", 1)
        self._seed = check_int(seed, "seed", 0)
        self._rank, self._world = check_int(rank, "rank", 0), check_int(world, "world", 1)
        if self._rank >= self._world:
            raise ValueError(f"rank must be an int from 0 to world - 1 = {self._world - 1}, got {rank}")
        self._shuffle, self._epoch = shuffle, 0

    def __len__(self) -> int:
        """Return how many indices this rank gets, the same number as every other."""
        return -(-self._n // self._world)

    def __iter__(self) -> Iterator[int]:
        order = epoch_order(self._n, self._seed, self._epoch, self._shuffle)
        padded = np.resize(order, len(self) * self._world)
        return self._follow(padded[self._rank :: self._world].tolist())

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, whose order the next iteration follows."""
        self._epoch = check_int(epoch, "epoch", 0)
