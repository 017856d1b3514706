"""The order of an epoch as a torch sampler."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sized
from types import FrameType
from typing import Any

import numpy as np
from torch.utils.data import DistributedSampler, Sampler

from ..system.arguments import check_int
from .epochs import epoch_order
from .lookahead import Cursor


class EpochSampler(Sampler[int]):
    """A sampler of the indices 0 to n - 1, in an order that is a pure function of (seed, epoch).

    n: the dataset, or its length. With an ``ImageDataset`` and ``num_workers=0``, the next batch is read and decoded on
    threads while the last one is used. Call ``set_epoch(epoch)`` before each epoch; otherwise the order is that of the
    last one. world, rank: as with DistributedSampler, each of `world` processes gets every `world`-th index, starting
    with the `rank`-th; if they cannot be divided evenly, the first ones come twice.

    With `world`, it is a DistributedSampler to frameworks, which Lightning leaves as it is; without, Lightning shards
    it among its processes. Accelerate shards every sampler: pass no `world` there. Raises TypeError or ValueError if a
    number is out of range, RuntimeError if Accelerate shards the share of a rank.

    To resume within an epoch, save ``state_dict()`` and load it before the loader is iterated over again; torchdata's
    StatefulDataLoader does both.
    """

    def __new__(cls, *args: Any, world: int | None = None, **options: Any) -> Any:
        return super().__new__(cls if world is None or cls is not EpochSampler else _RankSampler)

    def __init__(
        self, n: int | Sized, *, seed: int, rank: int = 0, world: int | None = None, shuffle: bool = True
    ) -> None:
        self._follow: Callable[[list[int]], Cursor] = getattr(n, "follow", Cursor)
        self._n = check_int(len(n) if isinstance(n, Sized) else n, "n", 1)
        self._seed = check_int(seed, "seed", 0)
        self.rank, self.num_replicas = check_int(rank, "rank", 0), check_int(1 if world is None else world, "world", 1)
        if self.rank >= self.num_replicas:
            raise ValueError(f"rank must be an int from 0 to world - 1 = {self.num_replicas - 1}, got {rank}")
        self.shuffle, self.epoch = shuffle, 0
        self._start = 0  # of the next iteration
        self._cursor: tuple[int, Cursor] | None = None  # of the current one: where it started, and how far it is

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
        start, self._start = self._start, 0
        cursor = self._follow(padded[self.rank :: self.num_replicas][start:].tolist())
        self._cursor = start, cursor
        return cursor

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, whose order the next iteration follows, from its start if it is another one."""
        if check_int(epoch, "epoch", 0) != self.epoch:
            self.epoch, self._start, self._cursor = epoch, 0, None

    def state_dict(self, position: int | None = None) -> dict[str, Any]:
        """Return what a sampler with the same arguments needs to go on from here: plain ints and bools.

        position: how many samples this rank has trained on in this epoch, batches times their size. By default it is
        how many indices were yielded, which is the same with ``num_workers=0`` and for StatefulDataLoader; a DataLoader
        with workers is ahead by the batches that they prefetch, and they would be left out: pass it there. Raises
        TypeError or ValueError if it is out of range.
        """
        if position is None:
            position = self._start if self._cursor is None else self._cursor[0] + self._cursor[1].position
        return {**self._identity(), "epoch": self.epoch, "position": self._check_position(position)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration start at the position, and in the epoch, of a state; those after it are whole.

        A state of any rank will do. That of a finished epoch leaves a sampler that is in a later one as it is. Raises
        ValueError if it is of a sampler with other arguments.
        """
        for name, expected in self._identity().items():
            if state.get(name) != expected:
                raise ValueError(
                    f"the state must be of an EpochSampler with {name}={expected}, got {state.get(name)}: resume with "
                    "the arguments of the earlier run, or start the epoch over"
                )
        epoch, position = check_int(state.get("epoch"), "epoch", 0), self._check_position(state.get("position"))
        if position == len(self) and self.epoch > epoch:  # StatefulDataLoader loads it after set_epoch of the next one
            epoch, position = self.epoch, 0
        self.epoch, self._start, self._cursor = epoch, position, None

    def _identity(self) -> dict[str, Any]:
        """Return what the order depends on beside the epoch."""
        return {"n": self._n, "seed": self._seed, "world": self.num_replicas, "shuffle": self.shuffle}

    def _check_position(self, position: Any) -> int:
        if check_int(position, "position", 0) > len(self):
            raise ValueError(f"position must be from 0 to {len(self)}, the samples of an epoch, got {position}")
        return int(position)


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
