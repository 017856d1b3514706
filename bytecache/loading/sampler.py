"""The order of an epoch as a torch sampler."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sized
from types import FrameType
from typing import Any

import numpy as np
from torch.utils.data import DistributedSampler, Sampler

from ..system.arguments import check_int
from .epochs import epoch_order


class EpochSampler(Sampler[int]):
    """A sampler of the indices 0 to n - 1, in an order that is a pure function of (seed, epoch).

    n: the dataset, or its length. With an ``ImageDataset`` and ``num_workers=0``, the next batch is read and decoded on
    threads while the last one is used. Call ``set_epoch(epoch)`` before each epoch; otherwise the order is that of the
    last one. world, rank: as with DistributedSampler, each of `world` processes gets every `world`-th index, starting
    with the `rank`-th; if they cannot be divided evenly, the first ones come twice.

    With `world`, it is a DistributedSampler to frameworks, which Lightning leaves as it is; without, Lightning shards
    it among its processes. Accelerate shards every sampler: pass no `world` there. Raises TypeError or ValueError if a
    number is out of range, RuntimeError if Accelerate shards the share of a rank.
    """

    def __new__(cls, *args: Any, world: int | None = None, **options: Any) -> Any:
        return super().__new__(cls if world is None or cls is not EpochSampler else _RankSampler)

    def __init__(
        self, n: int | Sized, *, seed: int, rank: int = 0, world: int | None = None, shuffle: bool = True
    ) -> None:
        self._follow: Callable[[list[int]], Iterator[int]] = getattr(n, "follow", iter)
        self._n = check_int(len(n) if isinstance(n, Sized) else n, "n", 1)
        self._seed = check_int(seed, "seed", 0)
        self.rank, self.num_replicas = check_int(rank, "rank", 0), check_int(1 if world is None else world, "world", 1)
        if self.rank >= self.num_replicas:
            raise ValueError(f"rank must be an int from 0 to world - 1 = {self.num_replicas - 1}, got {rank}")
        self.shuffle, self.epoch = shuffle, 0

    def __len__(self) -> int:
        """Return how many indices this rank gets, the same number as every other."""
        return -(-self._n // self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        if self.num_replicas > 1 and _is_called_by_accelerate():
            raise RuntimeError(
                "Accelerate gives each process a share of what a sampler yields, and this one yields the share of rank "
                f"{self.rank} alone: pass EpochSampler(data, seed={self._seed}) without rank and world"
            )
        order = epoch_order(self._n, self._seed, self.epoch, self.shuffle)
        padded = np.resize(order, len(self) * self.num_replicas)
        return self._follow(padded[self.rank :: self.num_replicas].tolist())

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, whose order the next iteration follows."""
        self.epoch = check_int(epoch, "epoch", 0)


class _RankSampler(EpochSampler, DistributedSampler[int]):
    """The same for one of several ranks: what frameworks take for sharded already."""


def _is_called_by_accelerate() -> bool:
    """Return whether Accelerate's batch sampler, which shards another one, is among the callers."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if type(frame.f_locals.get("self")).__name__ == "BatchSamplerShard":
            return True
        frame = frame.f_back
    return False
