"""Counters that outlive their process: a row for each process and segment, in a file that all can read."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..base import Counts
from .file_io import pwrite_all

Row = Any  # a memoryview of CounterRow.WORDS ints; written by one process alone
_PAGE = mmap.ALLOCATIONGRANULARITY


class CounterRow:
    """The words of a row, of eight bytes each. Two cache lines, which no other process writes to."""

    FUNCTION, GENERATION, PID, STARTED_NS, HITS, MISSES, ERRORS, STORED, REJECTED, LOAD_NS = range(10)
    WORDS = 16


class CounterFile:
    """The rows of a store, in the order in which they were claimed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def claim_locked(self, number: int, function: int, generation: int) -> Row:
        """Return row `number`, from 0, for this process; raise OSError if the file system has no room for it."""
        page, within = divmod(number * CounterRow.WORDS * 8, _PAGE)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < (page + 1) * _PAGE:
                pwrite_all(fd, bytes(_PAGE), page * _PAGE)  # a hole could not be written to on a full file system
            words = memoryview(mmap.mmap(fd, _PAGE, offset=page * _PAGE)).cast("Q")
        finally:
            os.close(fd)
        return _initialize(words[within // 8 :][: CounterRow.WORDS], function, generation)

    def capacity(self) -> int:
        """Return how many rows the file has room for."""
        try:
            with open(self._path, "rb") as file:
                return os.fstat(file.fileno()).st_size // (8 * CounterRow.WORDS)
        except FileNotFoundError:
            return 0

    def rows(self, count: int, function: int, generation: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Return the rows of a function since it was cleared, of the first `count`, as they are now: uint64 (n, 16)."""
        count = min(count, self.capacity())
        words = np.fromfile(self._path, np.uint64, count * CounterRow.WORDS) if count else np.empty(0, np.uint64)
        rows = words.reshape(-1, CounterRow.WORDS)
        of_function = (rows[:, CounterRow.FUNCTION] == function) & (rows[:, CounterRow.GENERATION] == generation)
        selected: np.ndarray[Any, np.dtype[np.uint64]] = rows[of_function]
        return selected


def private_row(function: int, generation: int) -> Row:
    """Return a row that other processes cannot see, for when there is no room for one that they can."""
    return _initialize(memoryview(bytearray(CounterRow.WORDS * 8)).cast("Q"), function, generation)


def counts_of(row: Row) -> Counts:
    """Return what a row, or a sum of rows, has counted."""
    hits, misses, errors, stored, rejected, load_ns = (int(n) for n in row[CounterRow.HITS : CounterRow.LOAD_NS + 1])
    return Counts(hits, misses, errors, stored, rejected, load_s=load_ns / 1e9)


def _initialize(row: Row, function: int, generation: int) -> Row:
    row[CounterRow.PID], row[CounterRow.STARTED_NS] = os.getpid(), time.time_ns()
    row[CounterRow.GENERATION] = generation
    row[CounterRow.FUNCTION] = function
    return row
