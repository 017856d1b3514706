"""The values of one function in a shared store, from one clear to the next: an arena, and an index of what is in it.

The arena is a sparse file that only grows at its end and is mapped read-only. Nothing in it is ever moved or freed, so
a view into it stays valid as long as anything refers to it, even after the file was removed.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import zlib
from collections.abc import Container
from pathlib import Path
from typing import Any

from ....system.file_io import create_file, inode_at, open_owned, pwrite_all
from ....system.filesystem import is_memory_backed
from ...base import MISSING
from ...codec import BYTES, NDARRAY, STRUCTURE, Encoded, decode
from ...structures import ALIGNMENT
from .index import ALLOCATED, ARENA_INODE, TAIL, HashIndex
from .index_entry import IndexEntry

FILE_PATTERN = re.compile(r"([0-9]+)\.(?:arena|index|index\.part|slots[0-9]+)")
_MAX_ARENA_BYTES = 8 << 40  # what every file system can do
_LAST_OF_PAGE = mmap.PAGESIZE - 1
_ALLOCATED_AHEAD = 1 << 16  # bytes
_VALID, _CORRUPT = 1, 2


class DamagedSegment(ValueError):
    """A file of a segment was removed, replaced or cut short."""


class Segment:
    """Values by the digest of their key. Methods that end in ``_locked`` need the store's writer lock."""

    def __init__(
        self,
        folder: Path,
        generation: int,
        index_inode: int | None = None,
        maxbytes: int = 0,
        readonly: bool = False,
    ) -> None:
        """Open the files of a generation; raise FileNotFoundError if there are none, or no longer.

        index_inode: of the index, which knows its arena and its table: DamagedSegment if a file was cut short, or is
        not the one that was created or adopted with the others. None to open whatever is there. maxbytes: make the
        arena as long as it may become, under the writer's lock. readonly: verify all values that are there when they
        are read, since nobody may have checked the files.
        """
        self._stem = folder / str(generation)
        self.index = HashIndex(self._stem, index_inode, readonly)
        self._fd = open_owned(self, f"{self._stem}.arena", os.O_RDONLY if readonly else os.O_RDWR)
        status = os.fstat(self._fd)
        if index_inode is not None:
            if status.st_ino != self.index.header[ARENA_INODE] or status.st_size < self.currbytes:
                raise DamagedSegment(f"{self._stem}.arena was cut short or replaced")
        if maxbytes and status.st_size < _arena_bytes(maxbytes):  # an earlier run has left it shorter
            os.ftruncate(self._fd, _arena_bytes(maxbytes))
        self._bytes = mmap.mmap(self._fd, 0, prot=mmap.PROT_READ)
        self._view, self._nbytes = memoryview(self._bytes), len(self._bytes)
        self._on_disk = not is_memory_backed(folder)
        if self._on_disk:  # by default the kernel reads megabytes around every page that is touched
            self._bytes.madvise(mmap.MADV_RANDOM)
        # For each entry that an earlier run wrote, by number: _VALID, _CORRUPT, or 0 if it was not verified yet.
        self._unverified = (self.index.count if readonly else self.index.unverified) + 1
        self._verdicts = bytearray(self._unverified)

    @staticmethod
    def create_locked(folder: Path, generation: int, maxbytes: int) -> int:
        """Create the files of a generation; return the inode of its index. The arena is as long as it may become."""
        stem = folder / str(generation)
        return HashIndex.create_locked(stem, create_file(Path(f"{stem}.arena"), b"", _arena_bytes(maxbytes)))

    def is_intact(self) -> bool:
        """Return whether the names still lead to the files, and all are whole."""
        inode, nbytes = inode_at(f"{self._stem}.arena")
        return inode == self.index.header[ARENA_INODE] and nbytes >= self.currbytes and self.index.is_intact()

    @staticmethod
    def remove_all_but_locked(folder: Path, generations: Container[int]) -> None:
        """Remove the files of all other generations; processes that have them open keep them."""
        for path in folder.iterdir():
            match = FILE_PATTERN.fullmatch(path.name)
            if match is not None and int(match[1]) not in generations:
                path.unlink(missing_ok=True)

    def adopt_locked(self) -> None:
        """Adopt the entries of an earlier run, which may have been on another machine: they are verified when read.

        Raise ValueError for damaged files.
        """
        self.index.check()
        status = os.fstat(self._fd)
        if status.st_size < self.currbytes:
            raise ValueError(f"the arena has {status.st_size} of {self.currbytes} bytes")
        self.index.adopt_locked(status.st_ino)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def currbytes(self) -> int:
        """The bytes of the arena that are in use."""
        return int(self.index.header[TAIL])

    def get(self, digest: bytes, copy: bool = True) -> Any:
        """Return the value, or MISSING; with ``copy=False`` bytes are a view of the arena."""
        found = self.index.find(digest)
        if found is None:
            return MISSING
        number, (_, offset, length, _, kind, description_length, _) = found
        if number < self._unverified and not self._verified(number):
            return MISSING
        arena, end = self._bytes, offset + length
        guard = (end + description_length | _LAST_OF_PAGE) + 1
        if guard >= self._nbytes:
            return MISSING
        if self._on_disk:
            self._read_ahead(offset, end + description_length)
        value: Any
        if kind == BYTES:
            value = arena[offset:end] if copy else self._view[offset:end]
        else:
            try:
                value = decode(kind, self._view[offset:end], arena[end : end + description_length])
            except ValueError:  # of another version of the library
                return MISSING
        # Of an arena that was cut short in the value's last page, the rest of that page reads as zeros. The page behind
        # it is gone then, and to touch it ends the process by SIGBUS: better than a wrong value.
        arena[guard]
        return value

    def __contains__(self, digest: bytes) -> bool:
        """Return whether there is an entry, verified or not."""
        return self.index.find(digest) is not None

    def stored_size(self, encoded: Encoded) -> int:
        """Return the bytes of the arena that a value would take now, with the gap that aligns it."""
        return self._gap(encoded) + encoded.payload.nbytes + len(encoded.description)

    def append_locked(self, digest: bytes, encoded: Encoded) -> None:
        """Write a value behind the last one; raise OSError if the file system does not accept it.

        Raise DamagedSegment if the arena was cut short: to write behind its end would put zeros where values were.
        """
        entry, nbytes = self._next_entry(digest, encoded), self._nbytes
        if self._bytes.size() < nbytes:
            self._repair_length_locked()
        try:
            guard = _guard(entry.end)
            if guard >= nbytes:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            if guard >= self.index.header[ALLOCATED] and not self._on_disk:
                self._allocate_locked(guard)
            pwrite_all(self._fd, encoded.payload, entry.offset)
            pwrite_all(self._fd, encoded.description, entry.offset + entry.length)
            if self._bytes.size() < nbytes:  # it was cut short meanwhile, and the write has extended it
                raise DamagedSegment(f"{self._stem}.arena was cut short")
            self.index.append_locked(entry)
        except OSError:
            self._repair_length_locked()
            self._free_tail_locked()
            raise

    def _repair_length_locked(self) -> None:
        nbytes = self._bytes.size()
        if nbytes < self.currbytes:
            raise DamagedSegment(f"{self._stem}.arena was cut short")
        if nbytes < self._nbytes:  # a writer was killed while it freed what it had written
            self._free_tail_locked()

    def _allocate_locked(self, guard: int) -> None:
        """Have memory set aside up to the page `guard`, and some more if there is: to read a hole would take it.

        On disk it takes none, and to set space aside on a full btrfs takes long.
        """
        start = self.index.header[ALLOCATED]
        for ahead in (_ALLOCATED_AHEAD, mmap.PAGESIZE):
            end = min(guard + ahead, self._nbytes)
            try:
                os.posix_fallocate(self._fd, start, end - start)
            except OSError:
                if ahead == mmap.PAGESIZE:
                    raise
            else:
                self.index.header[ALLOCATED] = end
                return

    def _free_tail_locked(self) -> None:
        """Free what was set aside or written behind the last value, for others to use."""
        self.trim_locked()
        os.ftruncate(self._fd, self._nbytes)

    def trim_locked(self) -> None:
        """End the arena behind its last value."""
        end, header = _guard(self.currbytes) + mmap.PAGESIZE, self.index.header
        allocated = end if self.currbytes else 0
        if header[ALLOCATED] > allocated:  # not on disk, where it may be full to the last word
            header[ALLOCATED] = allocated
        if not self.currbytes:
            os.ftruncate(self._fd, 0)
        os.ftruncate(self._fd, end)

    def _next_entry(self, digest: bytes, encoded: Encoded) -> IndexEntry:
        offset = self.currbytes + self._gap(encoded)
        crc = _crc(encoded.payload, encoded.description)
        return IndexEntry(digest, offset, encoded.payload.nbytes, crc, encoded.kind, len(encoded.description))

    def _gap(self, encoded: Encoded) -> int:
        """Return the bytes to be left free behind the last value, so that arrays are aligned."""
        return -self.currbytes % ALIGNMENT if encoded.kind in (NDARRAY, STRUCTURE) else 0

    def _verified(self, number: int) -> bool:
        """Return whether an entry of an earlier run is as that run wrote it; each process verifies it once."""
        if not self._verdicts[number]:
            self._verdicts[number] = _VALID if self.verify(self.index.entry(number)) else _CORRUPT
        return self._verdicts[number] == _VALID

    def verify(self, entry: IndexEntry) -> bool:
        """Return whether an entry and its value match their checksums."""
        if not entry.intact() or entry.end > min(self.currbytes, self._nbytes):
            return False
        end = entry.offset + entry.length
        if self._on_disk:
            self._read_ahead(entry.offset, entry.end)
        return _crc(self._view[entry.offset : end], self._view[end : entry.end]) == entry.crc

    def _read_ahead(self, start: int, end: int) -> None:
        """Ask the kernel to read a value from disk in one go, without waiting: page by page takes ten times as long."""
        page = start - start % mmap.PAGESIZE
        if end > page:  # an empty value may be at the very end
            self._bytes.madvise(mmap.MADV_WILLNEED, page, end - page)


def _arena_bytes(maxbytes: int) -> int:
    return _guard(min(maxbytes, _MAX_ARENA_BYTES)) + mmap.PAGESIZE


def _guard(end: int) -> int:
    """Return where the page begins that is behind a value which ends there; it is set aside with the value's."""
    return (end | _LAST_OF_PAGE) + 1


def _crc(payload: memoryview, description: bytes | memoryview) -> int:
    return zlib.crc32(description, zlib.crc32(payload))
