"""The order of an epoch as a torch sampler, and for the processes that make its batches."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence, Sized
from multiprocessing.context import get_spawning_popen
from types import FrameType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils.data import DistributedSampler, Sampler

from ..images.arrays import Array
from ..system.arguments import check_int
from .epochs import epoch_order

Key: TypeAlias = tuple[int, ...]  # the indices of a batch

_HEADER = 2  # the number of the epoch, and of its indices, before these


class EpochSampler(Sampler[int]):
    """A sampler of the indices 0 to n - 1, in an order that is a pure function of (seed, epoch).

    n: the dataset, or its length. An ``ImageDataset`` reads the next batches ahead, in worker processes too, and with
    ``num_workers=0`` decodes the next one while the last one is used. Call ``set_epoch(epoch)`` before each epoch;
    otherwise the order is that of the last one. world, rank: as with DistributedSampler, each of `world` processes gets
    every `world`-th index, starting with the `rank`-th; if they cannot be divided evenly, the first ones come twice.

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
        self._order: SharedOrder | None = n.share_order() if hasattr(n, "share_order") else None
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
        indices = padded[self.rank :: self.num_replicas][start:]
        if self._order is not None:
            self._order.announce(indices)
        cursor = Cursor(indices.tolist())
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


class Cursor:
    """An iterator over indices; ``position`` is how many came."""

    def __init__(self, indices: Sequence[int]) -> None:
        self._indices, self.position = indices, 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self.position == len(self._indices):
            raise StopIteration
        self.position += 1
        return self._indices[self.position - 1]


class SharedOrder:
    """The order of the current epoch, in memory that worker processes see, and the way of this process through it.

    n: the most indices of an epoch. Made before the workers start; the order is announced before they are asked for
    its first batch. A batch is recognized by its indices, as what others do with a sampler is not known: Accelerate
    gives a process every second batch or the halves of all. A pickled copy has it only if it goes to a worker.
    """

    def __init__(self, n: int, memory: torch.Tensor | None = None) -> None:
        if memory is None:
            memory = torch.zeros(_HEADER + n, dtype=torch.int32)
            try:
                memory.share_memory_()  # type: ignore[no-untyped-call]
            except RuntimeError:  # no room in /dev/shm: workers know of no epoch then
                pass
        self._memory, self._array = memory, memory.numpy()
        self._epoch = 0  # that of the following
        self._last: int | None = None  # where the last batch was
        self._next = 0  # where the next one is expected
        self._strides: dict[tuple[int, int], int] = {}  # from one batch to the next, by workers and size of a batch

    def announce(self, indices: Array) -> None:
        """Let all processes know what will be requested."""
        self._array[_HEADER : _HEADER + len(indices)] = indices
        self._array[1] = len(indices)
        self._array[0] += 1

    def following(self, batch: Key, worker: int = 0, workers: int = 1) -> Iterator[Key] | None:
        """Return the batches that this process will be asked for after `batch`; None if that is not to be known.

        It is if `batch` is where it was expected: first, or as far from the last one as that was from the one before.
        worker, workers: the number of this process and of all.
        """
        epoch, n = int(self._array[0]), len(batch)
        if not epoch or not n:
            return None
        if epoch != self._epoch:
            self._epoch, self._last, self._next = epoch, None, worker * n
        expected = self._is_at(self._next, batch)
        start = self._next if expected else self._find(batch)
        if start is None:
            return None
        stride = self._strides.setdefault((workers, n), workers * n)
        if not expected and self._last is not None and start > self._last:
            stride = self._strides[workers, n] = start - self._last
        self._last, self._next = start, start + stride
        return self._batches(epoch, self._next, stride, n) if expected else None

    def _is_at(self, start: int, batch: Key) -> bool:
        end = start + len(batch)
        return end <= self._array[1] and tuple(self._array[_HEADER + start : _HEADER + end].tolist()) == batch

    def _find(self, batch: Key) -> int | None:
        (starts,) = np.nonzero(self._array[_HEADER : _HEADER + self._array[1]] == batch[0])
        return next((start for start in starts.tolist() if self._is_at(start, batch)), None)

    def _batches(self, epoch: int, start: int, stride: int, n: int) -> Iterator[Key]:
        """Yield the batches that are whole, as a loader may drop the last, until another epoch is announced."""
        while start + n <= self._array[1] and epoch == self._array[0]:
            yield tuple(self._array[_HEADER + start : _HEADER + start + n].tolist())
            start += stride

    def __reduce__(self) -> Any:
        starts_worker = get_spawning_popen() is not None
        return SharedOrder, (len(self._array) - _HEADER, self._memory if starts_worker else None)
