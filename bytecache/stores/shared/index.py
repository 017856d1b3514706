"""Where the values of one function lie: a hash table in files that all processes map, written by one at a time.

As in Python's own dict, the entries stand in a list in the order in which they came, and a table of slots leads from
a key's hash to a place in the list (Hettinger's compact dict). An entry counts once ``COUNT`` says so, which is one
store of eight bytes, after all else has been written: a writer that is killed leaves nothing that is seen. Entries are
never moved or changed, so readers need no lock.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .file_io import create_file, open_owned, pwrite_all

COUNT, BITS, TAIL, UNVERIFIED, SUPERSEDED, _PENDING_SLOT, _PENDING_OLD = range(7)  # words of the header
_HEADER = 4096  # bytes before the first entry
_ENTRY = struct.Struct("<16sQQIHHI4x")
_SIZE = _ENTRY.size
_BEFORE_FIRST = _HEADER - _SIZE  # entries are numbered from 1
_FIELDS = np.dtype([("hash", "<u8"), ("rest", "S8"), ("position", "<u8", 4)])
_FIRST_BITS = 10


class IndexEntry(NamedTuple):
    """offset, length: of the payload in the arena, in bytes. description_length: bytes of description behind it.

    crc: of payload and description. check: of this entry itself.
    """

    digest: bytes
    offset: int
    length: int
    crc: int
    kind: int
    description_length: int
    entry_crc: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.length + self.description_length

    def pack(self) -> bytes:
        """The entry's bytes, with its check."""
        return _ENTRY.pack(*self[:-1], self._check())

    def intact(self) -> bool:
        """Whether the check fits."""
        return self.entry_crc == self._check()

    def _check(self) -> int:
        return zlib.crc32(_ENTRY.pack(*self[:-1], 0))


class HashIndex:
    """Maps the 16-byte digest of a key to its entry. Methods that end in ``_locked`` need the store's writer lock."""

    def __init__(self, stem: Path) -> None:
        """Opens ``stem.index`` and its table; raises FileNotFoundError where there are none, ValueError for others."""
        self._stem = stem
        self._fd = open_owned(self, f"{stem}.index")
        self.header = memoryview(mmap.mmap(self._fd, _HEADER)).cast("Q")
        bits = self.header[BITS]
        least = max(self.header[UNVERIFIED], self.header[SUPERSEDED])
        if not _FIRST_BITS <= bits <= 32 or not least <= self.header[COUNT] <= _capacity(bits):
            raise ValueError(f"an index of 2**{bits} slots cannot have {self.header[COUNT]} entries")
        self._remap()

    @staticmethod
    def create_locked(stem: Path) -> None:
        """Makes an empty index; its header and table are there in full, so that writing to them cannot fail."""
        create_file(_table_path(stem, _FIRST_BITS), bytes(4 << _FIRST_BITS))
        header = np.zeros(_HEADER // 8, np.uint64)
        header[BITS] = _FIRST_BITS
        part = Path(f"{stem}.index.part")
        create_file(part, header.tobytes(), _HEADER + _SIZE * _capacity(_FIRST_BITS))
        part.rename(f"{stem}.index")

    @staticmethod
    def exists(stem: Path) -> bool:
        """Whether an index was made in full."""
        return Path(f"{stem}.index").exists()

    def check(self) -> None:
        """Raises ValueError where the files cannot be an index: entries or slots are missing, or no slot is free."""
        count, size = self.header[COUNT], os.fstat(self._fd).st_size
        slots = self._mapped[2]
        if count > _capacity(self.header[BITS]) or size < _HEADER + _SIZE * count:
            raise ValueError(f"the index has {size} bytes and {len(slots)} slots for {count} entries")
        if np.count_nonzero(slots) > count + 1 or np.max(slots) > count + 1:  # one whose writer was killed
            raise ValueError(f"the table of the index has slots that are not of its {count} entries")

    def __len__(self) -> int:
        return self.header[COUNT] - self.header[SUPERSEDED]

    def _remap(self) -> None:
        while True:
            bits = self.header[BITS]
            try:
                fd = os.open(_table_path(self._stem, bits), os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                if bits == self.header[BITS]:
                    raise
                continue  # a writer has just put a larger one in its place
            try:
                slots = memoryview(mmap.mmap(fd, 4 << bits)).cast("I")
            finally:
                os.close(fd)
            size = _HEADER + _SIZE * _capacity(bits)
            entries = mmap.mmap(self._fd, size, prot=mmap.PROT_READ)
            self._mapped = bits, (1 << bits) - 1, slots, entries  # in one step: other threads are looking
            return

    def find(self, digest: bytes) -> tuple[int, tuple[Any, ...]] | None:
        """(number from 1, fields of the entry), or None."""
        bits, mask, slots, entries = self._mapped
        place = int.from_bytes(digest[:8], "little") & mask
        number = slots[place]
        while number:
            if number <= self.header[COUNT]:
                fields = _ENTRY.unpack_from(entries, _BEFORE_FIRST + _SIZE * number)
                if fields[0] == digest:
                    return number, fields
            place = (place + 1) & mask
            number = slots[place]
        if bits == self.header[BITS]:
            return None
        try:
            self._remap()
        except FileNotFoundError:  # cleared meanwhile, and before that grown
            return None
        return self.find(digest)

    def entry(self, number: int) -> IndexEntry:
        """An entry by its number, 1 to COUNT."""
        if number > _capacity(self._mapped[0]):
            self._remap()
        return IndexEntry(*_ENTRY.unpack_from(self._mapped[3], _HEADER + _SIZE * (number - 1)))

    def append_locked(self, entry: IndexEntry) -> None:
        """Adds an entry, in the place of an older one with the same digest. Raises OSError where there is no room."""
        number = self.header[COUNT] + 1
        if self._mapped[0] != self.header[BITS]:
            self._remap()
        self._recover_locked()
        if number > _capacity(self._mapped[0]):
            self._grow_locked()
        pwrite_all(self._fd, entry.pack(), _HEADER + _SIZE * (number - 1))
        header, slots, place = self.header, self._mapped[2], self._slot_of(entry.digest)
        header[_PENDING_OLD] = slots[place]
        header[_PENDING_SLOT] = place + 1
        slots[place] = number
        header[TAIL] = entry.end
        header[COUNT] = number
        header[SUPERSEDED] += header[_PENDING_OLD] != 0
        header[_PENDING_SLOT] = 0

    def _recover_locked(self) -> None:
        """Takes back the slot of an entry whose writer was killed before it counted."""
        place, slots = self.header[_PENDING_SLOT] - 1, self._mapped[2]
        if place >= 0 and slots[place] > self.header[COUNT]:
            slots[place] = self.header[_PENDING_OLD]
        self.header[_PENDING_SLOT] = 0

    def _slot_of(self, digest: bytes) -> int:
        """The slot of this digest, or the empty one that it goes into."""
        _, mask, slots, _ = self._mapped
        place = int.from_bytes(digest[:8], "little") & mask
        while slots[place] and self.entry(slots[place]).digest != digest:
            place = (place + 1) & mask
        return place

    def _grow_locked(self) -> None:
        bits = self._mapped[0] + 1
        count, old = self.header[COUNT], _table_path(self._stem, self._mapped[0])
        table = _table_path(self._stem, bits)
        entries = np.frombuffer(self._mapped[3], _FIELDS, count, _HEADER)
        try:
            create_file(table, _build_table(entries["hash"], bits).tobytes())
            os.ftruncate(self._fd, _HEADER + _SIZE * _capacity(bits))
        except OSError:
            table.unlink(missing_ok=True)
            raise
        self.header[BITS] = bits
        self._remap()
        old.unlink(missing_ok=True)


def _capacity(bits: int) -> int:
    return 1 << (bits - 1)  # half of the slots stay free, so that few are looked at


def _table_path(stem: Path, bits: int) -> Path:
    return Path(f"{stem}.slots{bits}")


def _build_table(hashes: np.ndarray[Any, np.dtype[np.uint64]], bits: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """The table with all entries in it: each at its hash or in the next free slot, all at once, round by round."""
    mask = (1 << bits) - 1
    slots = np.zeros(mask + 1, np.uint32)
    numbers = np.arange(1, len(hashes) + 1, dtype=np.uint32)
    places = (hashes & np.uint64(mask)).astype(np.int64)
    while len(numbers):
        free = slots[places] == 0
        slots[places[free]] = numbers[free]  # of several for one slot the last one stays: the latest entry of a key
        left = slots[places] != numbers
        numbers, places = numbers[left], (places[left] + 1) & mask
    return slots
