"""Counters that outlive their process: a row for each process and function, behind the header of the store."""

from __future__ import annotations

import mmap
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ...system.file_io import map_words, pwrite_all
from ..base import Counters, Counts
from .header import HEADER_BYTES, StoreHeader

if TYPE_CHECKING:
    from .binding import Binding
    from .partition import SharedPartition

Row = Any  # a sequence of CounterRow.WORDS ints; written by one process alone
_PAGE = mmap.ALLOCATIONGRANULARITY


class CounterRow:
    """The words of a row, of eight bytes each. Two cache lines, which no other process writes to.

    COUNTED_SINCE: the function's first generation since its last clear.
    """

    FUNCTION, COUNTED_SINCE, PID, STARTED_NS, HITS, MISSES, ERRORS, STORED, REJECTED, EVICTED, LOAD_NS = range(11)
    WORDS = 16


class CounterRows:
    """The rows of a store, in the order in which they were claimed, behind its header."""

    def __init__(self, header: StoreHeader) -> None:
        self._fd, self._in_place = header.fd, header.in_place

    def claim_locked(self, number: int, function: int, since: int) -> Row:
        """Return row `number`, from 0, for this process; raise OSError if the file system has no space for it."""
        offset = HEADER_BYTES + number * CounterRow.WORDS * 8
        page = offset - offset % _PAGE
        if os.fstat(self._fd).st_size < page + _PAGE:
            pwrite_all(self._fd, bytes(_PAGE), page)  # a hole could not be written to on a full file system
        row = map_words(self._fd, CounterRow.WORDS, "Q", offset, self._in_place)
        return _initialize(row if self._in_place else _RowOrCopy(row), function, since)

    def capacity(self) -> int:
        """Return how many rows fit in the file."""
        return max(0, os.fstat(self._fd).st_size - HEADER_BYTES) // (8 * CounterRow.WORDS)

    def rows(self, header: StoreHeader, function: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Return the rows of a function since it was cleared, as they are now: uint64 (n, 16)."""
        count, since = header.counter_rows, header.counted_since(function)
        data = os.pread(self._fd, min(count, self.capacity()) * 8 * CounterRow.WORDS, HEADER_BYTES)
        whole = len(data) // (8 * CounterRow.WORDS)
        rows = np.frombuffer(data, np.uint64, whole * CounterRow.WORDS).reshape(-1, CounterRow.WORDS)
        of_function = (rows[:, CounterRow.FUNCTION] == function) & (rows[:, CounterRow.COUNTED_SINCE] == since)
        selected: np.ndarray[Any, np.dtype[np.uint64]] = rows[of_function]
        return selected


class _RowOrCopy:
    """A row in a file until that cannot be written, for want of space, and from then on a copy in memory."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def __getitem__(self, index: Any) -> Any:
        return self._row[index]

    def tobytes(self) -> Any:
        return self._row.tobytes()

    def __setitem__(self, word: int, count: int) -> None:
        try:
            self._row[word] = count
        except OSError:
            self._row = memoryview(bytearray(self._row.tobytes())).cast("Q")
            self._row[word] = count


class SharedCounters(Counters):
    """Counts in this process's row of one function since it was cleared; after a clear it has another row."""

    def __init__(self, partition: SharedPartition, binding: Binding) -> None:
        self._partition, self._binding = partition, binding

    def _add(self, word: int, n: int) -> None:
        binding = self._binding
        if binding.handle.locks.closed:  # by close(), or because this is a child that was forked in the meantime
            bound = self._partition.bound()
            if bound.generation == binding.generation:
                binding = self._binding = bound
        with self._partition.lock:
            binding.counters[word] += n

    def hit(self, n: int = 1) -> None:
        self._add(CounterRow.HITS, n)

    def miss(self, n: int = 1) -> None:
        self._add(CounterRow.MISSES, n)

    def reject(self, n: int = 1) -> None:
        self._add(CounterRow.REJECTED, n)

    def load(self, seconds: float, errors: int = 0) -> None:
        self._add(CounterRow.LOAD_NS, round(seconds * 1e9))
        if errors:
            self._add(CounterRow.ERRORS, errors)

    def snapshot(self, scope: str) -> Counts:
        binding = self._binding
        if scope == "all":
            rows = binding.handle.counters.rows(binding.handle.header, binding.function_row)
            return counts_of(rows.sum(axis=0))
        return counts_of(memoryview(binding.counters.tobytes()).cast("Q"))  # copied in one step


def private_row(function: int, since: int) -> Row:
    """Return a row in memory, which other processes cannot see, for when the file system has no space for one."""
    return _initialize(memoryview(bytearray(CounterRow.WORDS * 8)).cast("Q"), function, since)


def add_counts(row: Row, other: Row) -> None:
    """Add what another row has counted."""
    for word in range(CounterRow.HITS, CounterRow.LOAD_NS + 1):
        row[word] += other[word]


def counts_of(row: Row) -> Counts:
    """Return what a row, or a sum of rows, has counted."""
    words = (int(n) for n in row[CounterRow.HITS : CounterRow.LOAD_NS + 1])
    hits, misses, errors, stored, rejected, evicted, load_ns = words
    return Counts(hits, misses, errors, stored, rejected, evicted, load_ns / 1e9)


def _initialize(row: Row, function: int, since: int) -> Row:
    row[CounterRow.PID], row[CounterRow.STARTED_NS] = os.getpid(), time.time_ns()
    row[CounterRow.COUNTED_SINCE] = since
    row[CounterRow.FUNCTION] = function
    return row
