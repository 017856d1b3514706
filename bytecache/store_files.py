"""The files of a shared store that a process has open, and what is done to them: bind, put, clear."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from . import tally
from .caution import warn
from .codec import Encoded
from .head import FUNCTIONS, GENERATION, MAXBYTES, PROCESSES, USED, Head
from .hold import Hold
from .locks import WRITER, ByteLocks
from .memory import MISSING
from .section import Section

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM)


class Bound(NamedTuple):
    """A process's share in one generation of a function's values.

    section: None where the file system had no room for one. counts: this process's row, see tally.
    """

    files: StoreFiles
    words: memoryview
    row: int
    generation: int
    section: Section | None
    counts: tally.Row

    def stale(self) -> bool:
        """Whether the function was cleared meanwhile."""
        return bool(self.words[self.row + GENERATION] != self.generation)


class Closed(Exception):
    """The files were closed, or are a forked child's parent's: open them anew."""


class User(Protocol):
    """What keeps a Bound, and must ask for another one in a forked child, or when the store was closed."""

    def unbind(self) -> None: ...
    def forget_other_threads(self) -> None: ...


class StoreFiles:
    """A store's folder, open in this process alone: a forked child opens it anew. Safe for threads."""

    def __init__(self, folder: Path, held: Hold | None = None) -> None:
        """Raises FileNotFoundError or ValueError where there is no store. held: None for who only looks at it."""
        self.folder, self._held = folder, held
        self.head = Head(self.folder)
        self.locks = ByteLocks(self.folder / "locks")
        self._tallies = tally.TallyFile(self.folder / "processes")
        self._mutex = threading.RLock()  # one thread at a time writes
        self._writing = False  # guarded by it: a signal handler may want to write in the midst of it
        self._full = self._warned = False  # whether the file system had no room: since the last clearing, ever

    @property
    def maxbytes(self) -> int:
        """The most bytes of values, all functions' together."""
        return int(self.head.words[MAXBYTES])

    def close(self) -> None:
        """Gives back all locks; what is mapped stays."""
        self.locks.close()
        if self._held is not None:
            self._held.close()

    def forget_parent(self) -> None:
        """In a forked child: closes the locks that it shares with its parent."""
        self.locks.close()
        if self._held is not None:
            self._held.forget()

    @contextmanager
    def _writer(self) -> Iterator[bool]:
        """Under the lock that one thread of one process has; false in a signal handler that came in between.

        Raises Closed.
        """
        if self.locks.closed:  # before the mutex, which in a forked child a thread may hold that is not there
            raise Closed
        with self._mutex:
            if self._writing:
                yield False
                return
            try:
                self._writing = True
                if not self.locks.take(WRITER):
                    raise Closed
                yield True
            finally:
                self._writing = False
                try:
                    self.locks.give_back(WRITER)
                except BaseException:  # an interrupt, before it was done
                    self.locks.give_back(WRITER)
                    raise

    def bind(self, function: bytes, name: str) -> Bound:
        """This process's share in a function's values: in the files that are valid now, made where there are none.

        function: the 16 bytes that stand for it. Raises Closed, and OSError where the files cannot be opened or made,
        but for lack of room.
        """
        with self._writer() as writing:
            if not writing:  # one for this call alone: row 0 is the store's own, and never of generation 0
                return Bound(self, self.head.words, 0, 0, None, tally.private_row(0, 0))
            row = self.head.find(function)
            if row is None:
                row = self.head.add_locked(function, name)
            generation = int(self.head.words[row + GENERATION])
            section: Section | None = None
            try:
                if not Section.exists(self.folder, generation):
                    Section.create_locked(self.folder, generation, self.maxbytes)
                section = Section(self.folder, generation)
                place = int(self.head.words[PROCESSES])
                counts = self._tallies.claim_locked(place, row, generation)
                self.head.words[PROCESSES] = place + 1
                self._full = False
            except OSError as exc:
                self._warn_or_raise(exc)
                counts = tally.private_row(row, generation)
            return Bound(self, self.head.words, row, generation, section, counts)

    def put(self, bound: Bound, digest: bytes, encoded: Encoded, maxsize: int | None) -> bool | None:
        """Stores a value: True, or False where it does not fit; None where that is no longer called for.

        Raises Closed.
        """
        section = bound.section
        if section is None:
            return False
        with self._writer() as writing:
            if not writing or bound.stale() or section.get(digest, copy=False) is not MISSING:
                return None
            words, size = bound.words, section.size_of(encoded)
            words[bound.row + USED] = section.currbytes  # a writer that was killed has left more
            if (maxsize is not None and len(section) >= maxsize) or self.head.used() + size > self.maxbytes:
                return False
            words[bound.row + USED] = section.currbytes + size  # before it is written: never too little
            try:
                section.append_locked(digest, encoded)
            except OSError as exc:
                self._warn_or_raise(exc)
                return False
            finally:
                words[bound.row + USED] = section.currbytes
            return True

    def full(self, bound: Bound) -> bool:
        """Whether there is no room for one more value of the mean size."""
        section = bound.section
        if section is None or self._full:
            return True
        mean = section.currbytes / len(section) if len(section) else 0
        return self.head.used() + mean > self.maxbytes

    def _warn_or_raise(self, exc: OSError) -> None:
        if exc.errno not in _NO_ROOM:
            raise exc
        self._full = True
        if not self._warned:
            self._warned = True
            warn(
                f"{self.folder}: the file system has no room for more ({os.strerror(exc.errno or 0)}); "
                f"{self.head.used():,} of {self.maxbytes:,} bytes are held, and what does not fit is read each time"
            )

    def clear(self, function: bytes | None = None) -> None:
        """Forgets a function's values, or everything, and their figures; views that were handed out stay valid.

        Raises Closed.
        """
        with self._writer():
            rows = list(self.head.rows()) if function is None else [self.head.find(function)]
            for row in rows:
                if row is not None:
                    self.head.new_generation_locked(row)
            if function is None:
                self.head.words[FUNCTIONS] = 0  # room for others; who had a row finds its generation gone
            # All that is not in use: also what a process left that was killed in the midst of this.
            Section.remove_all_but_locked(self.folder, self.head.generations())

    def totals(self, bound: Bound) -> list[int]:
        """The figures of all processes that have used a function since it was cleared, added up; see tally."""
        rows = self._tallies.rows(int(self.head.words[PROCESSES]))
        mine = (rows[:, tally.FUNCTION] == bound.row) & (rows[:, tally.GENERATION] == bound.generation)
        return [int(figure) for figure in rows[mine].sum(axis=0)]
