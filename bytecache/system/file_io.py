"""Files: opened, written at an offset, created, and looked up by name."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path


def open_owned(owner: object, path: str | Path, flags: int = os.O_RDWR) -> int:
    """Open a file, by default for reading and writing; return a descriptor that is closed when `owner` is gone."""
    fd = os.open(path, flags | os.O_CLOEXEC)
    weakref.finalize(owner, os.close, fd).atexit = False
    return fd


def pwrite_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data`, which the system may accept in parts; raise OSError if it does not accept it."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def pwritev_all(fd: int, parts: Sequence[bytes | memoryview], offset: int) -> None:
    """Write all of several parts, one behind the other, in one call if the system accepts it."""
    written = os.pwritev(fd, parts, offset)
    for part in parts:
        nbytes = len(part)
        if written < nbytes:
            pwrite_all(fd, memoryview(part)[max(written, 0) :], offset + max(written, 0))
        written, offset = written - nbytes, offset + nbytes


def create_file(path: Path, data: bytes, nbytes: int = 0) -> int:
    """Create a file that contains `data`, followed by a hole up to `nbytes` bytes if that is more; return its inode.

    A file that is there already is unlinked, not written to: a process may have it mapped.
    """
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        pwrite_all(fd, data, 0)
        os.ftruncate(fd, max(nbytes, len(data)))
        return os.fstat(fd).st_ino
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(path)) from None
    finally:
        os.close(fd)


def inode_at(path: str | Path) -> tuple[int, int]:
    """Return inode and size of the file that a name leads to; (0, 0) if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_ino, status.st_size
