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

from ...system.filesystem import is_memory_backed
from ..base import MISSING
from ..codec import BYTES, NDARRAY, Encoded, decode
from .file_io import create_file, open_owned, pwrite_all
from .index import HashIndex, IndexEntry

FILE_PATTERN = re.compile(r"([0-9]+)\.(?:arena|index|index\.part|slots[0-9]+)")
_MAX_ARENA_BYTES = 8 << 40  # what every file system can do
_ALIGNMENT = 64  # of arrays, in bytes: a cache line
_VALID, _CORRUPT = 1, 2


class Segment:
    """Values by the digest of their key. Methods that end in ``_locked`` need the store's writer lock."""

    def __init__(self, folder: Path, generation: int) -> None:
        """Open the files of a generation; raise FileNotFoundError if there are none, or no longer."""
        stem = folder / str(generation)
        self.index = HashIndex(stem)
        self._fd = open_owned(self, f"{stem}.arena")
        self._bytes = mmap.mmap(self._fd, 0, prot=mmap.PROT_READ)
        self._view = memoryview(self._bytes)
        self._on_disk = not is_memory_backed(folder)
        if self._on_disk:  # by default the kernel reads megabytes around every page that is touched
            self._bytes.madvise(mmap.MADV_RANDOM)
        # For each entry that an earlier run wrote, by number: _VALID, _CORRUPT, or 0 if it was not verified yet.
        self._verdicts = bytearray(self.index.unverified + 1)

    @staticmethod
    def create_locked(folder: Path, generation: int, maxbytes: int) -> None:
        """Create the files of a generation if they are missing; the arena is as long as it may become."""
        stem, nbytes = folder / str(generation), min(maxbytes, _MAX_ARENA_BYTES)
        if not HashIndex.exists(stem):
            create_file(Path(f"{stem}.arena"), b"", nbytes)
            HashIndex.create_locked(stem)
        elif os.path.getsize(f"{stem}.arena") < nbytes:  # append_locked was killed after it had shortened the file
            os.truncate(f"{stem}.arena", nbytes)

    @staticmethod
    def exists(folder: Path, generation: int) -> bool:
        """Return whether the files of a generation were created in full."""
        return HashIndex.exists(folder / str(generation))

    @staticmethod
    def remove_all_but_locked(folder: Path, generations: Container[int]) -> None:
        """Remove the files of all other generations; processes that have them open keep them."""
        for path in folder.iterdir():
            match = FILE_PATTERN.fullmatch(path.name)
            if match is not None and int(match[1]) not in generations:
                path.unlink(missing_ok=True)

    def adopt_locked(self) -> None:
        """Adopt an earlier run's entries, which are verified when they are read; raise ValueError for damaged files."""
        self.index.check()
        nbytes = os.fstat(self._fd).st_size
        if nbytes < self.currbytes:
            raise ValueError(f"the arena has {nbytes} of {self.currbytes} bytes")
        self.index.mark_unverified_locked()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def currbytes(self) -> int:
        """The bytes of the arena that are in use."""
        return self.index.tail

    def get(self, digest: bytes, copy: bool = True) -> Any:
        """Return the value, or MISSING; with ``copy=False`` bytes are a view of the arena."""
        found = self.index.find(digest)
        if found is None:
            return MISSING
        number, (_, offset, length, _, kind, description_length, _) = found
        if number < len(self._verdicts) and not self._verified(number):
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
        """Return whether there is an entry, verified or not."""
        return self.index.find(digest) is not None

    def stored_size(self, encoded: Encoded) -> int:
        """Return the bytes of the arena that a value would take now, with the gap that aligns it."""
        return self._next_entry(b"", encoded).end - self.currbytes

    def append_locked(self, digest: bytes, encoded: Encoded) -> None:
        """Write a value behind the last one; raise OSError if the file system does not accept it."""
        entry = self._next_entry(digest, encoded)
        nbytes = len(self._bytes)
        try:
            if entry.end > nbytes:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            pwrite_all(self._fd, encoded.payload, entry.offset)
            pwrite_all(self._fd, encoded.description, entry.offset + entry.length)
            self.index.append_locked(entry._replace(crc=_crc(encoded.payload, encoded.description)))
        except OSError:
            os.ftruncate(self._fd, self.currbytes)  # frees the part that was written, for others to use
            os.ftruncate(self._fd, nbytes)
            raise

    def _next_entry(self, digest: bytes, encoded: Encoded) -> IndexEntry:
        offset = self.currbytes
        if encoded.kind == NDARRAY:
            offset += -offset % _ALIGNMENT
        return IndexEntry(digest, offset, encoded.payload.nbytes, 0, encoded.kind, len(encoded.description))

    def _verified(self, number: int) -> bool:
        """Return whether an entry of an earlier run is as that run wrote it; each process verifies it once."""
        if not self._verdicts[number]:
            self._verdicts[number] = _VALID if self.verify(self.index.entry(number)) else _CORRUPT
        return self._verdicts[number] == _VALID

    def verify(self, entry: IndexEntry) -> bool:
        """Return whether an entry and its value match their checksums."""
        if not entry.intact() or entry.end > min(self.currbytes, len(self._bytes)):
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


def _crc(payload: memoryview, description: bytes | memoryview) -> int:
    return zlib.crc32(description, zlib.crc32(payload))
