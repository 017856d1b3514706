"""The files of a shared store that a process has open, and what is done to them: bind, put, clear."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from ...system.caller import warn_caller
from ..codec import Encoded
from ..memory import MISSING
from . import counters as tally
from .attachment import Attachment
from .header import FUNCTIONS, GENERATION, MAXBYTES, PROCESSES, USED, StoreHeader
from .locks import WRITER, ByteLocks
from .segment import Segment

T = TypeVar("T")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM)


class Bound(NamedTuple):
    """A process's share in one generation of a function's values.

    section: None where the file system had no room for one. counts: this process's row, see tally.
    """

    files: StoreHandle
    words: memoryview
    row: int
    generation: int
    section: Segment | None
    counts: tally.Row

    def stale(self) -> bool:
        """Whether the function was cleared meanwhile."""
        return bool(self.words[self.row + GENERATION] != self.generation)


class HandleClosed(Exception):
    """The files were closed, or are a forked child's parent's: open them anew."""


class ReentrantWrite(Exception):
    """A signal handler wants to write in the midst of this thread's own writing."""


class User(Protocol):
    """What keeps a Bound, and must ask for another one in a forked child, or when the store was closed."""

    def unbind(self) -> None: ...
    def forget_other_threads(self) -> None: ...


class StoreHandle:
    """A store's folder, open in this process with_writer_lock: a forked child opens it anew. Safe for threads."""

    def __init__(self, folder: Path, attachment: Attachment | None = None) -> None:
        """Raises FileNotFoundError or ValueError where there is no store. attachment: None for who only looks at it."""
        self.folder, self._attachment = folder, attachment
        self.head = StoreHeader(self.folder)
        self.locks = ByteLocks(self.folder / "locks")
        self.tallies = tally.CounterFile(self.folder / "processes")
        self._mutex = threading.RLock()  # one thread at a time writes
        self._writing = False  # guarded by it: a signal handler may want to write in the midst of it
        self._closing = False
        self._disk_full = False  # whether the file system took no more, until it is bound anew
        self._warned = False

    @property
    def maxbytes(self) -> int:
        """The most bytes of values, all functions' together."""
        return int(self.head.words[MAXBYTES])

    def close(self) -> None:
        """Gives back all locks, once no thread of this process writes; what is mapped stays."""
        with self._mutex:
            self._closing = True
            if not self._writing:  # a signal handler may have come in between
                self._close()

    def _close(self) -> None:
        self.locks.close()
        if self._attachment is not None:
            self._attachment.detach()

    def after_fork_in_child(self) -> None:
        """In a forked child: closes the locks that it shares with its parent."""
        self.locks.close_in_child()
        if self._attachment is not None:
            self._attachment.detach_in_child()

    def with_writer_lock(self, work: Callable[[], T]) -> T:
        """``work()`` under the lock that one thread of one process has at a time.

        Raises HandleClosed, and ReentrantWrite in a signal handler that came in the midst of such work.
        """
        if self.locks.closed:  # before the mutex, which in a forked child a thread may hold that is not there
            raise HandleClosed
        with self._mutex:
            if self._writing:
                raise ReentrantWrite
            try:
                self._writing = True
                if not self.locks.acquire(WRITER):
                    raise HandleClosed
                return work()
            finally:
                self._writing = False
                try:
                    self.locks.release(WRITER)
                except BaseException:  # an interrupt, before it was done
                    self.locks.release(WRITER)
                    raise
                if self._closing:
                    self._close()

    def bind(self, function: bytes, name: str) -> Bound:
        """This process's share in a function's values: in the files that are valid now, made where there are none.

        function: the 16 bytes that stand for it. Where the files cannot be had, there is one warning, and a share in
        nothing. Raises HandleClosed.
        """
        try:
            return self.with_writer_lock(lambda: self._bind_locked(function, name))
        except ReentrantWrite:
            return self._unbacked(stale=True)
        except OSError as exc:
            self._warn(exc)
            return self._unbacked()

    def _bind_locked(self, function: bytes, name: str) -> Bound:
        row = self.head.find(function)
        if row is None:
            if self.head.used() > 0.99 * self.maxbytes:
                names = ", ".join(sorted({self.head.name(other) for other in self.head.rows()}))
                warn_caller(
                    f"{self.folder} is full of the values of {names}: those of {name} are read each time. A "
                    f"function whose code has changed is another one: clear the store (bytecache clear {self.folder})"
                )
            row = self.head.add_locked(function, name)
        generation = int(self.head.words[row + GENERATION])
        section: Segment | None = None
        try:
            Segment.create_locked(self.folder, generation, self.maxbytes)
            section = Segment(self.folder, generation)
            place = int(self.head.words[PROCESSES])
            counts = self.tallies.claim_locked(place, row, generation)
            self.head.words[PROCESSES] = place + 1
            self._disk_full = False
        except OSError as exc:
            self._warn(exc)
            counts = tally.private_row(row, generation)
        return Bound(self, self.head.words, row, generation, section, counts)

    def _unbacked(self, stale: bool = False) -> Bound:
        words = memoryview(bytearray(8 * (GENERATION + 1))).cast("Q")
        words[GENERATION] = stale
        return Bound(self, words, 0, 0, None, tally.private_row(0, 0))

    def put(self, bound: Bound, digest: bytes, encoded: Encoded, maxsize: int | None) -> bool | None:
        """Stores a value: True, or False where it does not fit; None where that is no longer called for."""
        section = bound.section
        if section is None:
            return False
        try:
            return self.with_writer_lock(lambda: self._put_locked(bound, section, digest, encoded, maxsize))
        except (HandleClosed, ReentrantWrite):
            return None
        except OSError as exc:
            self._warn(exc)
            return False

    def _put_locked(
        self, bound: Bound, section: Segment, digest: bytes, encoded: Encoded, maxsize: int | None
    ) -> bool | None:
        if bound.stale() or section.get(digest, copy=False) is not MISSING:
            return None
        words, size = bound.words, section.stored_size(encoded)
        words[bound.row + USED] = section.currbytes  # a writer that was killed has left more
        if (maxsize is not None and len(section) >= maxsize) or self.head.used() + size > self.maxbytes:
            return False
        words[bound.row + USED] = section.currbytes + size  # before it is written: never too little
        try:
            section.append_locked(digest, encoded)
        finally:
            words[bound.row + USED] = section.currbytes
        return True

    def full(self, bound: Bound) -> bool:
        """Whether there is no room for one more value of the mean size."""
        section = bound.section
        if section is None or self._disk_full:
            return True
        mean = section.currbytes / len(section) if len(section) else 0
        return self.head.used() + mean > self.maxbytes

    def _warn(self, exc: OSError) -> None:
        """Once: that values are not kept, and why."""
        self._disk_full = True
        if not self._warned:
            self._warned = True
            reason = "the file system has no room for more" if exc.errno in _NO_ROOM else "its files cannot be written"
            warn_caller(
                f"{self.folder}: {reason} ({exc.strerror or exc}); {self.head.used():,} of {self.maxbytes:,} bytes are "
                "held, and what is not held is read each time"
            )

    def clear(self, function: bytes | None = None) -> None:
        """Forgets a function's values, or everything, and their figures; views that were handed out stay valid.

        Raises HandleClosed.
        """
        try:
            self.with_writer_lock(lambda: self._clear_locked(function))
        except (
            ReentrantWrite
        ):  # in the midst of this thread's own write, which then goes to files that nobody looks into
            self._clear_locked(function)

    def _clear_locked(self, function: bytes | None) -> None:
        rows = list(self.head.rows()) if function is None else [self.head.find(function)]
        for row in rows:
            if row is not None:
                self.head.new_generation_locked(row)
        if function is None:
            self.head.words[FUNCTIONS] = 0  # room for others; who had a row finds its generation gone
        # All that is not in use: also what a process left that was killed in the midst of this.
        with suppress(FileNotFoundError):  # the folder is gone, and they with it
            Segment.remove_all_but_locked(self.folder, self.head.generations())

    def counter_totals(self, bound: Bound) -> list[int]:
        """The figures of all processes that have used a function since it was cleared, added up; see tally."""
        rows = self.tallies.rows(int(self.head.words[PROCESSES]), bound.row, bound.generation)
        return [int(figure) for figure in rows.sum(axis=0)]
