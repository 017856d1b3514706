"""The values of one function in a shared store, from one clearing to the next: an arena, and an index of what is in it.

The arena is a sparse file that only grows at its end and is mapped read-only; nothing in it is ever moved or freed, so
a view into it stays valid as long as anybody holds it, also after the file was removed.
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

from ...system.filesystem import is_memory_backed
from ..base import MISSING
from ..codec import BYTES, NDARRAY, Encoded, decode
from .file_io import create_file, open_owned, pwrite_all
from .index import COUNT, TAIL, UNVERIFIED, HashIndex, IndexEntry

FILE_PATTERN = re.compile(r"([0-9]+)\.(?:arena|index|index\.part|slots[0-9]+)")
_MAX_ARENA_BYTES = 8 << 40  # bytes of an arena: what every file system can do
_ALIGNMENT = 64  # of arrays, in bytes: a cache line
_VALID, _CORRUPT = 1, 2


class Segment:
    """Values by the digest of their key. Methods that end in ``_locked`` need the store's writer lock."""

    def __init__(self, folder: Path, generation: int) -> None:
        """Opens the files of a generation; raises FileNotFoundError where there are none (any more)."""
        stem = folder / str(generation)
        self.generation = generation
        self.index = HashIndex(stem)
        self._fd = open_owned(self, f"{stem}.arena")
        self._bytes = mmap.mmap(self._fd, 0, prot=mmap.PROT_READ)
        self._view = memoryview(self._bytes)
        self._on_disk = not is_memory_backed(folder)
        if self._on_disk:  # a touched page would bring its neighbourhood, megabytes that nobody asked for
            self._bytes.madvise(mmap.MADV_RANDOM)
        # Of the entries that were here when this run began: which were checked, and how that went.
        self._checked = bytearray(self.index.header[UNVERIFIED] + 1)

    @staticmethod
    def create_locked(folder: Path, generation: int, maxbytes: int) -> None:
        """Makes the files of a generation, where they are not there; the arena as long as it may become."""
        stem, size = folder / str(generation), min(maxbytes, _MAX_ARENA_BYTES)
        if not HashIndex.exists(stem):
            create_file(Path(f"{stem}.arena"), b"", size)
            HashIndex.create_locked(stem)
        elif os.path.getsize(f"{stem}.arena") < size:  # a process was killed that had shortened it for a moment
            os.truncate(f"{stem}.arena", size)

    @staticmethod
    def exists(folder: Path, generation: int) -> bool:
        """Whether the files of a generation are there, in full."""
        return HashIndex.exists(folder / str(generation))

    @staticmethod
    def remove_all_but_locked(folder: Path, generations: Container[int]) -> None:
        """Removes the files of all other generations; those who have them open keep them."""
        for path in folder.iterdir():
            own = FILE_PATTERN.fullmatch(path.name)
            if own is not None and int(own[1]) not in generations:
                path.unlink(missing_ok=True)

    def adopt_locked(self) -> None:
        """Takes over what an earlier run has left, unproven; raises ValueError where it cannot be so."""
        self.index.check()
        size = os.fstat(self._fd).st_size
        if size < self.currbytes:
            raise ValueError(f"the arena has {size} bytes of {self.currbytes}")
        self.index.header[UNVERIFIED] = self.index.header[COUNT]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def currbytes(self) -> int:
        """Bytes of the arena that are in use."""
        return self.index.header[TAIL]

    def get(self, digest: bytes, copy: bool = True) -> Any:
        """The value, or MISSING; bytes as a view where they need not be copied."""
        found = self.index.find(digest)
        if found is None:
            return MISSING
        number, (_, offset, length, _, kind, description_length, _) = found
        if number < len(self._checked) and not self._verified(number):
            return MISSING
        end = offset + length
        if end + description_length > len(self._bytes):
            return MISSING
        if self._on_disk:
            self._read_ahead(offset, end + description_length)
        if kind == BYTES:
            return self._bytes[offset:end] if copy else self._view[offset:end]
        return decode(kind, self._view[offset:end], self._bytes[end : end + description_length])

    def __contains__(self, digest: bytes) -> bool:
        """Whether there is an entry."""
        return self.index.find(digest) is not None

    def stored_size(self, encoded: Encoded) -> int:
        """Bytes that a value would take now."""
        return self._entry(b"", encoded).end - self.currbytes

    def append_locked(self, digest: bytes, encoded: Encoded) -> None:
        """Writes a value behind the last one; raises OSError where the file system does not take it."""
        entry = self._entry(digest, encoded)
        size = len(self._bytes)
        try:
            if entry.end > size:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            pwrite_all(self._fd, encoded.payload, entry.offset)
            pwrite_all(self._fd, encoded.description, entry.offset + entry.length)
            self.index.append_locked(entry._replace(crc=_crc(encoded.payload, encoded.description)))
        except OSError:
            os.ftruncate(self._fd, self.currbytes)  # what there was room for is others' again
            os.ftruncate(self._fd, size)
            raise

    def _entry(self, digest: bytes, encoded: Encoded) -> IndexEntry:
        offset = self.currbytes
        if encoded.kind == NDARRAY:
            offset += -offset % _ALIGNMENT
        return IndexEntry(digest, offset, encoded.payload.nbytes, 0, encoded.kind, len(encoded.description))

    def _verified(self, number: int) -> bool:
        """Whether an entry that an earlier run left is what it wrote; each process looks once."""
        if not self._checked[number]:
            self._checked[number] = _VALID if self.verify(self.index.entry(number)) else _CORRUPT
        return self._checked[number] == _VALID

    def verify(self, entry: IndexEntry) -> bool:
        """Whether an entry and its value fit their checksums."""
        if not entry.intact() or entry.end > min(self.currbytes, len(self._bytes)):
            return False
        end = entry.offset + entry.length
        if self._on_disk:
            self._read_ahead(entry.offset, entry.end)
        return _crc(self._view[entry.offset : end], self._view[end : entry.end]) == entry.crc

    def _read_ahead(self, start: int, end: int) -> None:
        """Has a value read from the disk in one go, and does not wait for it: page by page takes ten times as long."""
        page = start - start % mmap.PAGESIZE
        if end > page:  # an empty value may lie at the very end
            self._bytes.madvise(mmap.MADV_WILLNEED, page, end - page)


def _crc(payload: memoryview, description: bytes | memoryview) -> int:
    return zlib.crc32(description, zlib.crc32(payload))
