"""Files: opened, written at an offset, created, looked up by name, and read and written as words of a mapping."""

from __future__ import annotations

import mmap
import os
import stat
import struct
import sys
import weakref
from pathlib import Path
from typing import Any, Literal, cast


def open_owned(owner: object, path: str | Path, flags: int = os.O_RDWR) -> int:
    """Open a file, by default for reading and writing; return a descriptor that is closed when `owner` is gone."""
    fd = os.open(path, flags | os.O_CLOEXEC)
    weakref.finalize(owner, os.close, fd).atexit = False
    return fd


def pwrite_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data`, which the system may accept in parts; raise OSError if it does not accept it."""
    while data:
        written = os.pwrite(fd, data, offset)
        if written == len(data):
            return
        data, offset = memoryview(data)[written:], offset + written


def create_file(path: Path, data: bytes, nbytes: int = 0) -> int:
    """Create a file that contains `data`, followed by a hole up to `nbytes` bytes if that is more; return its inode.

    A file that is there already is unlinked, not written to: a process may have it mapped. The new one is for those who
    may write to the folder, its owner or its group too, and if root creates it, it belongs to the owner of the folder.
    """
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        folder = path.parent.stat()
        if folder.st_mode & stat.S_IWGRP:
            os.fchmod(fd, 0o660)
        if os.geteuid() == 0 != folder.st_uid:
            os.fchown(fd, folder.st_uid, folder.st_gid)
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


def map_words(
    fd: int, count: int, code: Literal["Q", "I"], offset: int, in_place: bool, readonly: bool = False
) -> memoryview:
    """Return words of a file, "Q" of eight bytes or "I" of four, that all processes which map them see at once.

    in_place: whether the file system overwrites a page where it is. One that writes a changed page to another place
    needs space for it, even for a word that was there long ago, and without any ends the process by SIGBUS: words that
    are set are written by a system call there, which raises OSError.
    """
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    access = mmap.ACCESS_READ if readonly else mmap.ACCESS_WRITE
    mapped = mmap.mmap(fd, offset - start + count * struct.calcsize(code), access=access, offset=start)
    words = memoryview(mapped)[offset - start :].cast(code)
    return words if in_place or readonly else cast(memoryview, WrittenWords(fd, words, offset))


class WrittenWords:
    """Words that are read from a mapping and written by a system call."""

    __slots__ = ("__weakref__", "_fd", "_offset", "_words")

    def __init__(self, fd: int, words: memoryview, offset: int) -> None:
        self._fd, self._words, self._offset = os.dup(fd), words, offset
        weakref.finalize(self, os.close, self._fd).atexit = False

    def __len__(self) -> int:
        return len(self._words)

    def __getitem__(self, index: int | slice) -> Any:
        return self._words[index]

    def tobytes(self) -> bytes:
        """Return all words, copied in one step."""
        return self._words.tobytes()

    def __setitem__(self, index: int, value: int) -> None:
        nbytes = self._words.itemsize
        pwrite_all(self._fd, int(value).to_bytes(nbytes, sys.byteorder), self._offset + index * nbytes)
