"""The files of a shared store that a process has open, and the lock under which it writes to them."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ...system.caller import warn_caller
from .attachment import Attachment
from .counters import CounterFile
from .header import StoreHeader
from .locks import WRITER, ByteLocks
from .segment import Segment

T = TypeVar("T")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM)


class HandleClosed(Exception):
    """The files were closed, or are those of a forked child's parent: open them again."""


class ReentrantWrite(Exception):
    """A signal handler wants to write in the midst of this thread's own writing."""


class StoreHandle:
    """A store's folder, open in this process alone: a forked child opens it again. Safe for threads."""

    def __init__(self, folder: Path, attachment: Attachment | None = None) -> None:
        """Raise FileNotFoundError or ValueError if there is no store. attachment: None to look only."""
        self.folder, self._attachment = folder, attachment
        self.header = StoreHeader(self.folder)
        self.locks = ByteLocks(self.folder / "locks")
        self.counters = CounterFile(self.folder / "processes")
        self.disk_full = False  # whether the file system took no more, until a partition is bound again
        self._mutex = threading.RLock()  # one thread at a time writes
        self._writing = False  # guarded by it: a signal handler may want to write in the midst of it
        self._closing = False
        self._warned = False

    def close(self) -> None:
        """Release all locks, once no thread of this process writes; what is mapped stays."""
        with self._mutex:
            self._closing = True
            if not self._writing:  # a signal handler may have come in between
                self._close()

    def _close(self) -> None:
        self.locks.close()
        if self._attachment is not None:
            self._attachment.detach()

    def after_fork_in_child(self) -> None:
        """Close the locks that a forked child shares with its parent."""
        self.locks.close_in_child()
        if self._attachment is not None:
            self._attachment.detach_in_child()

    def with_writer_lock(self, work: Callable[[], T]) -> T:
        """Return ``work()``, run under the lock that one thread of one process has at a time.

        Raise HandleClosed, and ReentrantWrite in a signal handler that came in the midst of such work.
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

    def warn_not_stored(self, exc: OSError) -> None:
        """Warn, once, that values are not stored, and why."""
        self.disk_full = True
        if not self._warned:
            self._warned = True
            reason = "the file system has no space left" if exc.errno in _NO_SPACE else "its files cannot be written"
            warn_caller(
                f"{self.folder}: {reason} ({exc.strerror or exc}); {self.header.used_bytes:,} of "
                f"{self.header.maxbytes:,} bytes are used, and whatever is not stored is read each time"
            )

    def clear(self, function_id: bytes | None = None) -> None:
        """Remove the values and counters of a function, or of all; views that were handed out stay valid.

        Raise HandleClosed.
        """
        try:
            self.with_writer_lock(lambda: self._clear_locked(function_id))
        except ReentrantWrite:  # in the midst of this thread's own write, which then goes to files that nobody opens
            self._clear_locked(function_id)

    def _clear_locked(self, function_id: bytes | None) -> None:
        header = self.header
        rows = list(header.function_rows()) if function_id is None else [header.find_function(function_id)]
        for row in rows:
            if row is not None:
                header.new_generation_locked(row)
        if function_id is None:
            header.remove_functions_locked()  # room for others; who had a row finds its generation gone
        # All that is not in use: also what a process left that was killed in the midst of this.
        with suppress(FileNotFoundError):  # the folder is gone, and they with it
            Segment.remove_all_but_locked(self.folder, header.generations())
