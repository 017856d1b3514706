"""Locks between processes that the kernel releases when the process that has them dies."""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from ...system.caller import warn_caller
from ..base import Lease
from .holders import Holder, LockTimeout as LockTimeout, Watch, find_holder

try:
    import fcntl as fcntl
except ImportError:  # not on Windows, where shared stores are refused
    fcntl = None  # type: ignore[assignment]

# macOS has locks of this name whose structure is another one.
OFD_LOCKS_AVAILABLE = sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLKW")
_FLOCK = struct.Struct("hhqqi4x")  # struct flock
WRITER_BYTE = 0  # the byte that a writer locks; the others are for keys


def check_available() -> None:
    """Raise OSError if this system cannot have shared stores."""
    if not OFD_LOCKS_AVAILABLE:
        raise OSError(
            errno.ENOSYS,
            f"shared stores are for Linux only, whose open file description locks they need; this is {sys.platform}: "
            "leave out shared= and store=, and each process has a cache of its own",
        )


def wait_for_flock(fd: int, kind: int, path: Path) -> None:
    """Lock an open file or folder, which is at `path`, by flock(2); raise LockTimeout as ByteRangeLocks does."""
    watch = Watch(path, os.fstat(fd), None)
    while True:
        try:
            return fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            reason = watch.pause()
            if reason is not None:
                raise LockTimeout(*reason) from None


class ByteRangeLocks:
    """Locks on single bytes of a file: "open file description locks", see fcntl(2).

    They belong to this object, not to a thread: the threads of a process must exclude each other by other means. A
    forked child must close the object, which it shares with its parent: it would keep the locks if the parent died.
    """

    def __init__(self, path: Path, readonly: bool = False) -> None:
        self._path = path
        self._fd = os.open(path, (os.O_RDONLY if readonly else os.O_RDWR) | os.O_CLOEXEC)
        self._status = os.fstat(self._fd)  # by which those that have locks are found
        self._close = weakref.finalize(self, os.close, self._fd)
        self._close.atexit = False
        self._mutex = threading.Lock()  # guards _closing and _calls: no call may find another file at that descriptor
        self._closing, self._calls = False, 0
        self._useless: dict[int, tuple[str, Holder]] = {}  # bytes that it was of no use to wait for, and why

    @property
    def closed(self) -> bool:
        return self._closing

    def acquire(self, byte: int, *, wait: bool = True, warn: Callable[[str], None] | None = None) -> bool:
        """Lock a byte, 0 to 2**63 - 2; return False if it is locked and `wait` is false, or if this is closed.

        A lock is never taken away from a process that lives, since that may go on at any moment. Nor does anybody wait
        forever for one that was stopped (Ctrl-Z, a debugger, ``docker pause``): raise LockTimeout after a while, and
        from then on at once, for any byte that the process has, until that can be locked. warn: told of a long wait for
        one that runs.
        """
        if self._call(fcntl.F_WRLCK, byte) or (wait and self._wait(byte, warn)):
            if self._useless:
                self._useless.pop(byte, None)
            return True
        if self._useless and not self._closing:
            self._check_holder(byte)
        return False

    def _check_holder(self, byte: int) -> None:
        """Raise LockTimeout if the process that has the byte is one for which it was of no use to wait."""
        holder = find_holder(self._path.name, self._status, byte)
        for reason in list(self._useless.values()):
            if reason[1] == holder:
                self._useless[byte] = reason
                raise LockTimeout(*reason)

    def _wait(self, byte: int, warn: Callable[[str], None] | None) -> bool:
        """Try again and again: the kernel would wait until it is done, however long that takes."""
        watch = Watch(self._path, self._status, byte, warn)
        while not self._closing:
            reason = self._useless.get(byte) or watch.pause()
            if reason is not None:
                self._useless[byte] = reason
                raise LockTimeout(*reason)
            if self._call(fcntl.F_WRLCK, byte):
                return True
        return False

    def release(self, byte: int) -> None:
        """Unlock a byte, locked or not."""
        self._call(fcntl.F_UNLCK, byte)

    def _call(self, kind: int, byte: int) -> bool:
        """Return whether the byte was locked, or unlocked; False if another process has it, or if this is closed."""
        with self._mutex:
            if self._closing:
                return False
            self._calls += 1
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0))
            return not self._closing
        except (BlockingIOError, PermissionError):
            return False
        finally:
            with self._mutex:
                self._calls -= 1
                if self._closing and not self._calls:
                    self._close()

    def close(self) -> None:
        """Release all locks; a thread that waits for one goes on without."""
        with self._mutex:
            self._closing = True
            if not self._calls:
                self._close()

    def close_in_child(self) -> None:
        """Close at once: in a forked child no other thread is left."""
        self._closing = True
        self._close()


class KeyLease(Lease):
    """The lock on the byte that stands for a key, from one clear to the next."""

    def __init__(self, locks: ByteRangeLocks, digest: bytes, generation: int) -> None:
        self._locks = locks
        self._byte = 1 + (int.from_bytes(digest[8:16], "little") + generation * 0x9E3779B97F4A7C15) % (1 << 62)

    def acquire(self, *, wait: bool) -> bool | None:
        try:
            acquired = self._locks.acquire(self._byte, wait=wait, warn=warn_caller)
        except LockTimeout as timeout:
            timeout.warn()
            return None
        return acquired or (None if wait or self._locks.closed else False)

    def release(self) -> None:
        """Release the lease, acquired or not."""
        self._locks.release(self._byte)
