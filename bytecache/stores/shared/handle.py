"""The files of a shared store that a process has open, and the lock under which it writes to them."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from ...system.caller import warn_caller
from ...system.collection import no_collection
from ...system.filesystem import RESERVED_FRACTION, SHARED_MEMORY, reserved_bytes
from .attachment import Attachment
from .counters import CounterRows
from .header import HEAD, StoreHeader
from .locks import WRITER_BYTE, ByteRangeLocks, LockTimeout
from .segments.segment import Segment

T = TypeVar("T")
_RESERVE_CHECKS = 256  # while as many bytes are written as the reserve has: what is free is asked for so often
_TRIED_AGAIN = 32  # one of so many values that are as large as one which the file system has refused
_REASONS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "the file system has no space left"),
    errno.ENOMEM: "its files cannot be mapped, as the address space of this process is limited (ulimit -v), so give a "
    "smaller maxbytes",
}


class HandleClosed(Exception):
    """The files were closed, or are those of a forked child's parent: open them again."""


class ReentrantWrite(Exception):
    """A signal handler wants to write while this thread is writing."""


class StoreHandle:
    """A store's folder, open in this process alone: a forked child opens it again. Safe for threads."""

    def __init__(self, folder: Path, attachment: Attachment | None = None, readonly: bool = False) -> None:
        """Raise FileNotFoundError or ValueError if there is no store. attachment: None to look only."""
        self.folder, self._attachment, self.readonly = folder, attachment, readonly
        self.header = StoreHeader(self.folder, readonly)
        self.locks = ByteRangeLocks(self.folder / HEAD, readonly)
        self.counters = CounterRows(self.header)
        self._reserved_bytes = self._unchecked_bytes = reserved_bytes(folder)
        self._refused_bytes, self._tries = sys.maxsize, 0  # the size that the file system refused last
        self.disk_full = False  # whether a write has failed since a partition was last bound
        self.lost = False  # whether its files were removed or replaced: the store is to be opened again
        self.cut_off = False  # whether it was lost and no other could be opened: it goes on in files without a name
        self._mutex = threading.RLock()  # guards _writing and _closing: one thread at a time writes
        self._writing = False  # a signal handler may want to write during this thread's own write
        self._closing = False
        self._warned = False

    def close(self) -> None:
        """Release all locks, once no thread of this process writes; what is mapped stays."""
        with no_collection, self._mutex:
            self._closing = True
            if not self._writing:  # else a signal handler has interrupted a write, which closes when it ends
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

        The lock is on the header. If that was removed or replaced, other processes lock another one: the handle is lost
        then, and nothing may be written. Raise HandleClosed, also for a lost handle, ReentrantWrite in a signal handler
        that interrupted such work, and LockTimeout, after a RuntimeWarning, if the process that has the lock was
        stopped. Work that uses names of files calls :meth:`check_names_locked` first: the folder may have been renamed,
        and there may be another store in its place.
        """
        if self.readonly:
            raise OSError(errno.EROFS, "the store is open for reading alone", os.fspath(self.folder))
        try:
            return self._with_writer_lock(work)
        except LockTimeout as timeout:
            timeout.warn()
            raise

    def _with_writer_lock(self, work: Callable[[], T]) -> T:
        if self.locks.closed:  # first: in a forked child the mutex may belong to a thread that does not exist there
            raise HandleClosed
        with no_collection, self._mutex:
            if self._writing:
                raise ReentrantWrite
            try:
                self._writing = True
                if not self.locks.acquire(WRITER_BYTE):
                    raise HandleClosed
                if self.header.is_unlinked() and self.notice_loss():
                    raise HandleClosed
                return work()
            finally:
                self._writing = False
                try:
                    self.locks.release(WRITER_BYTE)
                except BaseException:  # an interrupt, perhaps before it was released
                    self.locks.release(WRITER_BYTE)
                    raise
                if self._closing:
                    self._close()

    def check_names_locked(self) -> None:
        """Raise HandleClosed if the name of the store leads to another one."""
        if self.notice_loss():
            raise HandleClosed

    def notice_loss(self) -> bool:
        """Return whether the files were removed or replaced, by now or earlier."""
        self.lost = self.lost or not (self.cut_off or self.header.is_current())
        return self.lost

    def go_on_alone(self) -> None:
        """Go on with the files that are open, since no other store can be opened in the place of this one."""
        self.cut_off, self.lost = True, False

    def has_room_locked(self, nbytes: int) -> bool:
        """Return whether the budget and the file system have room for a value; warn, once, if only the latter has none.

        The file system's reserve stays free.
        """
        if self.header.used_bytes + nbytes > self.header.maxbytes:
            return False
        self._unchecked_bytes += nbytes
        if self._unchecked_bytes * _RESERVE_CHECKS < self._reserved_bytes or not self._reserved_bytes:
            return True
        status = os.fstatvfs(self.header.fd)
        if status.f_bavail * status.f_frsize - nbytes >= self._reserved_bytes:
            self._unchecked_bytes = 0
            return True
        self._unchecked_bytes = self._reserved_bytes
        self._warn_not_stored(
            f"{RESERVED_FRACTION:.0%} of {SHARED_MEMORY} are left to other programs, such as a DataLoader's workers "
            "for their batches, and the rest is full"
        )
        return False

    def is_hopeless(self, nbytes: int) -> bool:
        """Return whether to spare the attempt to write a value: as many bytes were refused, and most are not tried.

        To find out anew takes a full btrfs a millisecond or more.
        """
        if nbytes < self._refused_bytes:
            return False
        self._tries += 1
        return self._tries % _TRIED_AGAIN != 0

    def warn_not_stored(self, exc: OSError, nbytes: int = sys.maxsize) -> None:
        """Warn, once, that values are not stored, and why. nbytes: of the value that was refused."""
        self._refused_bytes = nbytes
        reason = _REASONS.get(exc.errno or 0, f"its files cannot be {'read' if self.readonly else 'written'}")
        self._warn_not_stored(f"{reason} ({exc.strerror or exc})")

    def _warn_not_stored(self, reason: str) -> None:
        self.disk_full = True
        if not self._warned:
            self._warned = True
            warn_caller(
                f"{self.folder}: {reason}; {self.header.used_bytes:,} of {self.header.maxbytes:,} bytes are used, and "
                "whatever is not stored is read each time"
            )

    def warn_full_of_others(self, name: str) -> None:
        """Warn that no value of the function `name` will be stored, and why."""
        names = ", ".join(sorted({self.header.function_name(other) for other in self.header.function_rows()}))
        warn_caller(
            f"{self.folder} is full of the values of {names}: those of {name} are read each time. A function whose "
            f"code has changed is another one: clear what nobody uses any more (bytecache clear --stale {self.folder})"
        )

    def clear(self, function_id: bytes | None = None) -> None:
        """Remove the values and counters of a function, or of all; views that were handed out stay valid.

        Raise HandleClosed.
        """
        try:
            self.with_writer_lock(lambda: self._clear_locked(function_id))
        except ReentrantWrite:  # this thread's interrupted write then goes on in files that nobody will open
            self._clear_locked(function_id)

    def _clear_locked(self, function_id: bytes | None) -> None:
        self.check_names_locked()
        header = self.header
        rows = list(header.function_rows()) if function_id is None else [header.find_function(function_id)]
        for row in rows:
            if row is not None:
                header.new_generation_locked(row, count_anew=True)
        if function_id is None:
            header.remove_functions_locked()  # makes space for others; users of a row see that its generation changed
        self._remove_files_locked()

    def remove(self, function_ids: Iterable[bytes]) -> None:
        """Remove functions, with their values and counters; one that is called again is added anew.

        Raise HandleClosed.
        """
        self.with_writer_lock(partial(self._remove_locked, function_ids))

    def _remove_locked(self, function_ids: Iterable[bytes]) -> None:
        self.check_names_locked()
        for row in map(self.header.find_function, function_ids):
            if row is not None:
                self.header.remove_function_locked(row)
        self._remove_files_locked()

    def _remove_files_locked(self) -> None:
        """Remove all generations but those in use: also what a process has left that was killed during a clear."""
        with suppress(FileNotFoundError):  # the folder itself was removed
            Segment.remove_all_but_locked(self.folder, self.header.generations())
