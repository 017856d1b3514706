"""Locks between processes that the kernel releases when the process that has them dies."""

from __future__ import annotations

import os
import struct
import threading
import weakref
from pathlib import Path

from ..base import Lease

try:
    import fcntl as fcntl
except ImportError:  # not on Windows, where shared stores are refused
    fcntl = None  # type: ignore[assignment]

OFD_LOCKS_AVAILABLE = hasattr(fcntl, "F_OFD_SETLKW")
WRITER_BYTE = 0  # the byte that a writer locks; the others are for keys


class ByteRangeLocks:
    """Locks on single bytes of a file: "open file description locks", see fcntl(2).

    They belong to this object, not to a thread: the threads of a process must exclude each other by other means. A
    forked child must close the object, which it shares with its parent: it would keep the locks if the parent died.
    """

    def __init__(self, path: Path, readonly: bool = False) -> None:
        self._fd = os.open(path, (os.O_RDONLY if readonly else os.O_RDWR) | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self._fd)
        self._close.atexit = False
        self._mutex = threading.Lock()  # guards _closing and _calls: no call may find another file at that descriptor
        self._closing, self._calls = False, 0

    @property
    def closed(self) -> bool:
        return self._closing

    def acquire(self, byte: int, *, wait: bool = True) -> bool:
        """Lock a byte, 0 to 2**63 - 2; return False if it is locked and `wait` is false, or if this is closed."""
        try:
            return self._call(fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, fcntl.F_WRLCK, byte)
        except (BlockingIOError, PermissionError):
            return False

    def release(self, byte: int) -> None:
        """Unlock a byte, locked or not."""
        self._call(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, byte)

    def _call(self, command: int, kind: int, byte: int) -> bool:
        with self._mutex:
            if self._closing:
                return False
            self._calls += 1
        try:
            fcntl.fcntl(self._fd, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0))
            return not self._closing
        finally:
            with self._mutex:
                self._calls -= 1
                if self._closing and not self._calls:
                    self._close()

    def close(self) -> None:
        """Release all locks, once every thread that waits for one has got it."""
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

    def acquire(self, *, wait: bool) -> bool:
        """Return True once this process has the lease; False if another one has it and this one is not to wait."""
        return self._locks.acquire(self._byte, wait=wait)

    def release(self) -> None:
        """Release the lease, acquired or not."""
        self._locks.release(self._byte)
