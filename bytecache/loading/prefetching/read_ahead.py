"""Reads of the next batches, under way while this one is decoded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from statistics import fmean, median
from typing import Any, Generic, TypeVar

from ...stores.sizes import measure
from ...system.arguments import check_int
from ...system.memory_limit import available_memory
from ..samples import Loaded
from .ahead import Ahead

K = TypeVar("K", bound=Hashable)

# Of what is chosen by itself. More batches are not worth their threads: a batch's reads are concurrent already.
_MAX_BATCHES = 16
_MAX_BYTES = 256 << 20  # of all workers together: some thousand encoded images, little beside what training takes
_MEASURED = 8  # the last batches, of which the median counts: one slow read or a pause for validation changes nothing
_WORTH_IT = 0.1  # of the time between batches; below that, reads are hits, and a thread costs what it saves
_FEW = 2  # batches, however little memory is free
_SHARE_OF_FREE = 8  # of the free memory: one part of so many, as what is under way takes more than its samples


class ReadAhead(Generic[K]):
    """A reader of a worker's batches, which begins the reads of the next ones while it reads this one.

    read: from a batch's key to its samples; must not refer to the object that has this one. batches: how many may be
    under way beyond the one that is read; None for what keeps the reads ahead of the worker, by their measured time,
    within 16 batches and 256 MiB, of which the worker has a share, one of `workers`; more than two within an eighth of
    the free memory, too. function: what `read` calls; if it has ``batches_ahead``, that says how many are enough.
    For the batches of one worker in their order, from any thread; a forked child starts afresh.
    """

    def __init__(
        self,
        read: Callable[[K], Loaded],
        batches: int | None,
        workers: int = 1,
        function: Any = None,
    ) -> None:
        self._read = read
        self._pace = Pace(batches, _MAX_BYTES, workers, getattr(function, "batches_ahead", None))
        self._ahead: Ahead[K, Loaded] = Ahead(_MAX_BATCHES if batches is None else batches)

    def take(self, key: K, following: Iterable[K] | None = None) -> Loaded:
        """Return ``read(key)``; raise what it raises. following: the next keys in order; None if they are unknown."""
        batches = self._pace.begin()
        try:
            return self._ahead.get(key, self._prepare, following, batches)
        finally:
            self._pace.end()

    def _prepare(self, key: K) -> Callable[[], Loaded]:
        return partial(_read, self._read, key, self._pace)


def check_read_ahead(read_ahead: int | None, is_cached: bool) -> int | None:
    """Return how many batches to read ahead, None to measure it; raise TypeError or ValueError if it is no number.

    A function that is not cached may not be safe for threads: by itself it is called as it is without this.
    """
    if read_ahead is None:
        return None if is_cached else 0
    return check_int(read_ahead, "read_ahead", 0)


def _read(read: Callable[[K], Loaded], key: K, pace: Pace) -> Loaded:
    started = time.perf_counter()
    loaded = read(key)
    pace.record_read(time.perf_counter() - started, sum(map(_nbytes, loaded[0].values())), len(loaded[0]))
    return loaded


def _nbytes(value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, tuple):
        return sum(map(_nbytes, value))
    return int(value.nbytes) if hasattr(value, "nbytes") else measure(value)[0]


class Pace:
    """How many batches to read ahead: as many as a worker makes in the time that the reads of one take.

    Or as many as `enough` says, from the samples of a batch. At most as many as max_bytes has room for, and if there
    are more than two the free memory too, shared by `workers`.
    """

    def __init__(
        self, batches: int | None, max_bytes: int, workers: int = 1, enough: Callable[[int], int] | None = None
    ) -> None:
        self._batches, self._max_bytes, self._workers, self._enough = batches, max_bytes, workers, enough
        self._reads: list[tuple[float, int, int]] = []  # of the last batches: seconds, bytes, samples
        self._work_s: list[float] = []  # of the last ones: from a batch's samples to the next request
        self._ended = 0.0
        self._count = self._room = 0

    def begin(self) -> int:
        """Return how many batches to read ahead of the one that is requested now."""
        if self._batches is not None:
            return self._batches
        if self._count:
            self._work_s = [*self._work_s[1 - _MEASURED :], time.perf_counter() - self._ended]
        self._count += 1
        return self._measured()

    def end(self) -> None:
        """Note that the worker has the samples of a batch."""
        self._ended = time.perf_counter()

    def record_read(self, read_s: float, nbytes: int, samples: int) -> None:
        """Note how long the reads of a batch took, and what they returned."""
        # A new list, as other threads read this one; that one of two that end at once is lost does no harm.
        self._reads = [*self._reads[1 - _MEASURED :], (read_s, nbytes, samples)]

    def _measured(self) -> int:
        reads = self._reads
        if not reads or not self._work_s:
            return 0
        in_a_read = median(read_s for read_s, *_ in reads) / max(median(self._work_s), 1e-6)
        if in_a_read < _WORTH_IT:
            return 0
        if not self._room or self._count % _MEASURED == 0:
            self._room = _free_bytes() // _SHARE_OF_FREE // self._workers
        batch_bytes = max(fmean(nbytes for _, nbytes, _ in reads), 1)
        fitting = max(_FEW, int(self._room / batch_bytes)), int(self._max_bytes / self._workers / batch_bytes)
        wanted = math.ceil(in_a_read) + 1 if self._enough is None else self._enough(reads[-1][2])
        return min(wanted, _MAX_BATCHES, *fitting)


def _free_bytes() -> int:
    try:
        return available_memory()
    except OSError:  # a system that does not tell
        return _MAX_BYTES * _SHARE_OF_FREE
