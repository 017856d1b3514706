"""Figures that outlive their process: a row of counters per process and section, in a file that all can read."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from .index import pwrite_all

FUNCTION, GENERATION, PID, STARTED_NS, HITS, MISSES, ERRORS, STORED, REJECTED, LOAD_NS = range(10)
ROW_WORDS = 16  # of a row: two cache lines, which no other process writes to
_PAGE = mmap.ALLOCATIONGRANULARITY
Row = Any  # memoryview of ROW_WORDS ints; written by one process alone


class CounterFile:
    """The rows of a store, in the order in which they were asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def claim_locked(self, place: int, function: int, generation: int) -> Row:
        """The row at `place`, from 0, for this process; raises OSError where the file system has no room for it."""
        page, within = divmod(place * ROW_WORDS * 8, _PAGE)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < (page + 1) * _PAGE:
                pwrite_all(fd, bytes(_PAGE), page * _PAGE)  # a hole could not be written to on a full file system
            row = memoryview(mmap.mmap(fd, _PAGE, offset=page * _PAGE)).cast("Q")[within // 8 :][:ROW_WORDS]
        finally:
            os.close(fd)
        return _initialize(row, function, generation)

    def count(self) -> int:
        """How many rows the file has room for."""
        try:
            with open(self._path, "rb") as file:
                return os.fstat(file.fileno()).st_size // (8 * ROW_WORDS)
        except FileNotFoundError:
            return 0

    def rows(self, count: int, function: int, generation: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Those of a function since it was cleared, of the first `count` rows, as they are now: uint64 (n, 16)."""
        count = min(count, self.count())
        words = np.fromfile(self._path, np.uint64, count * ROW_WORDS) if count else np.empty(0, np.uint64)
        rows = words.reshape(-1, ROW_WORDS)
        mine: np.ndarray[Any, np.dtype[np.uint64]] = rows[
            (rows[:, FUNCTION] == function) & (rows[:, GENERATION] == generation)
        ]
        return mine


def private_row(function: int, generation: int) -> Row:
    """A row that other processes cannot see, for where there is no room for one that they can."""
    return _initialize(memoryview(bytearray(ROW_WORDS * 8)).cast("Q"), function, generation)


def _initialize(row: Row, function: int, generation: int) -> Row:
    row[PID], row[STARTED_NS], row[GENERATION] = os.getpid(), time.time_ns(), generation
    row[FUNCTION] = function
    return row
