"""The files of a store: opened, written at an offset, created."""

from __future__ import annotations

import os
import weakref
from pathlib import Path


def open_owned(owner: object, path: str) -> int:
    """Open a file for reading and writing; return a descriptor that is closed when `owner` is gone."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    weakref.finalize(owner, os.close, fd).atexit = False
    return fd


def pwrite_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data`, which the system may accept in parts; raise OSError if it does not accept it."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def create_file(path: Path, data: bytes, nbytes: int = 0) -> None:
    """Create a file that contains `data`, followed by a hole up to `nbytes` bytes if that is more."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        pwrite_all(fd, data, 0)
        os.ftruncate(fd, max(nbytes, len(data)))
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(path)) from None
    finally:
        os.close(fd)
