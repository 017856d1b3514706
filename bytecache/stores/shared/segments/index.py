"""A hash table in files that says where in the arena each value is: mapped by all processes, written by one at a time.

As in Python's own dict, the entries are a list in the order in which they were added, and a table of slots leads from
a key's hash to a number in that list (Hettinger's compact dict). An entry is valid once ``COUNT`` includes it, which is
one store of eight bytes, after everything else was written: a writer that is killed leaves nothing visible. Entries are
never moved or changed, so readers need no lock; but one byte, which they do not read, says that an entry is dead: that
of another version of the key was asked for since then (see :class:`bytecache.VersionedKey`), or its value is damaged.
And one that was discarded loses its checksum in one write: from then on it is not found, not by a reader either that
still has a table from before the last one grew, and what is stored under the key later is another entry.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from ....system.file_io import create_file, inode_at, map_words, open_owned, pwrite_all
from ....system.filesystem import overwrites_in_place
from .index_entry import CRC_BYTE, DEAD_BYTE, DISCARDED, ENTRY, IndexEntry
from .slots import build_table, capacity, table_path

# Words of the header. TAIL: the end of the last value in the arena. ALLOCATED: how much of that was set aside. The last
# two are the inodes of the files that belong to the index; that of a table of 2**bits slots is at _TABLE_INODE + bits:
# a reader that sees its size finds it.
COUNT, BITS, TAIL, UNVERIFIED, DEAD, _PENDING_SLOT, _PENDING_OLD, ALLOCATED, ARENA_INODE, _TABLE_INODE = range(10)
_HEADER_BYTES = 4096  # before the first entry
_hash_of = struct.Struct("<Q8x").unpack  # of a digest, its first half, which all versions of a key have: a 1-tuple
_fields_at = ENTRY.unpack_from
_ENTRY_BYTES = ENTRY.size
_ENTRY_0 = _HEADER_BYTES - _ENTRY_BYTES  # offset of an entry 0; there is none, they are numbered from 1
_ENTRY_DTYPE = np.dtype({"names": ["hash"], "formats": ["<u8"], "itemsize": _ENTRY_BYTES})
_FIRST_BITS = 10  # log2 of the slots of a new table


class HashIndex:
    """Maps the 16-byte digest of a key to its entry. Methods that end in ``_locked`` need the store's writer lock."""

    def __init__(self, stem: Path, inode: int | None = None, readonly: bool = False) -> None:
        """Open ``stem.index`` and its table; raise FileNotFoundError if they are missing, ValueError if not valid.

        inode: of the index that is expected, with its own table; None to open whatever is there.
        """
        self._stem, self._checks_inodes = stem, inode is not None
        self._readonly, self._flags = readonly, os.O_RDONLY if readonly else os.O_RDWR
        self._fd = open_owned(self, f"{stem}.index", self._flags)
        status = os.fstat(self._fd)
        self.inode, self._in_place = status.st_ino, overwrites_in_place(stem.parent)
        if status.st_size < _HEADER_BYTES or inode not in (None, self.inode):
            raise ValueError(f"{stem}.index was cut short or replaced")
        self.header = map_words(self._fd, _HEADER_BYTES // 8, "Q", 0, self._in_place, readonly)
        bits = self.header[BITS]
        fewest = max(self.header[UNVERIFIED], self.header[DEAD])
        if not _FIRST_BITS <= bits <= 32 or not fewest <= self.header[COUNT] <= capacity(bits):
            raise ValueError(f"an index of 2**{bits} slots cannot have {self.header[COUNT]} entries")
        self._remap()

    @staticmethod
    def create_locked(stem: Path, arena_inode: int = 0) -> int:
        """Create an empty index and return its inode; header and table have no holes: writing to them cannot fail."""
        header = np.zeros(_HEADER_BYTES // 8, np.uint64)
        header[BITS], header[ARENA_INODE] = _FIRST_BITS, arena_inode
        header[_TABLE_INODE + _FIRST_BITS] = create_file(table_path(stem, _FIRST_BITS), bytes(4 << _FIRST_BITS))
        return create_file(Path(f"{stem}.index"), header.tobytes(), _index_bytes(_FIRST_BITS))

    def check(self) -> None:
        """Raise ValueError if the files cannot be an index: entries or slots are missing, or no slot is free."""
        table = np.array(self._mapped[2][:])  # copied before the rest is read: a writer may be adding entries
        count, nbytes = self.count, os.fstat(self._fd).st_size
        if count > capacity(self.header[BITS]) or nbytes < _HEADER_BYTES + _ENTRY_BYTES * count:
            raise ValueError(f"the index has {nbytes} bytes and {len(table)} slots for {count} entries")
        if np.count_nonzero(table) > count + 1 or np.max(table) > count + 1:  # + 1: its writer was killed
            raise ValueError(f"the table of the index has slots that are not of its {count} entries")

    def adopt_locked(self, arena_inode: int) -> None:
        """Make the files those of this index; have every process verify what is in them now before it uses it."""
        self.recover_locked()
        self.header[UNVERIFIED] = self.header[COUNT]
        self.header[ARENA_INODE] = arena_inode
        bits = self.header[BITS]
        self.header[_TABLE_INODE + bits] = inode_at(table_path(self._stem, bits))[0]

    def is_intact(self) -> bool:
        """Return whether the names still lead to the index and its table, and both are whole."""
        bits = self.header[BITS]
        inode, nbytes = inode_at(f"{self._stem}.index")
        table_inode, table_bytes = inode_at(table_path(self._stem, bits))
        whole = nbytes >= _index_bytes(bits) and table_bytes >= 4 << bits
        return whole and (inode, table_inode) == (self.inode, self.header[_TABLE_INODE + bits])

    @property
    def is_full(self) -> bool:  # whether the next entry needs a larger table
        return self.header[COUNT] >= capacity(self._mapped[0])

    @property
    def count(self) -> int:
        """The number of entries, dead ones included."""
        return self.header[COUNT]

    @property
    def dead(self) -> int:
        """The number of dead entries."""
        return self.header[DEAD]

    @property
    def unverified(self) -> int:
        """How many entries, the first ones, an earlier run wrote."""
        return self.header[UNVERIFIED]

    def __len__(self) -> int:
        return self.header[COUNT] - self.header[DEAD]

    def is_dead(self, number: int) -> bool:
        """Return whether an entry was retired."""
        return self._mapped[3][_ENTRY_0 + _ENTRY_BYTES * number + DEAD_BYTE] != 0

    def _remap(self) -> None:
        while True:
            bits = self.header[BITS]
            try:
                fd = os.open(table_path(self._stem, bits), self._flags | os.O_CLOEXEC)
            except FileNotFoundError:
                if bits == self.header[BITS]:
                    raise
                continue  # a writer has just replaced it by a larger one
            try:
                if self._checks_inodes and os.fstat(fd).st_ino != self.header[_TABLE_INODE + bits]:
                    raise FileNotFoundError(errno.ENOENT, "was replaced", os.fspath(table_path(self._stem, bits)))
                table = map_words(fd, 1 << bits, "I", 0, self._in_place, self._readonly)
            finally:
                os.close(fd)
            entries = mmap.mmap(self._fd, _index_bytes(bits), prot=mmap.PROT_READ)
            self._mapped = bits, (1 << bits) - 1, table, entries  # in one step: other threads are reading it
            return

    def find(self, digest: bytes) -> tuple[int, tuple[Any, ...]] | None:
        """Return (number from 1, fields of the entry), or None."""
        bits, mask, table, entries = self._mapped
        slot = _hash_of(digest)[0] & mask
        number = table[slot]
        while number:
            if number <= self.header[COUNT]:
                fields = _fields_at(entries, _ENTRY_0 + _ENTRY_BYTES * number)
                if fields[0] == digest and fields[6]:  # without a checksum it was discarded, or cut off the end
                    return number, fields
            slot = (slot + 1) & mask
            number = table[slot]
        if bits == self.header[BITS]:
            return None
        try:
            self._remap()
        except (FileNotFoundError, ValueError):  # the table has grown, and then was cleared or cut short
            return None
        return self.find(digest)

    def entry(self, number: int) -> IndexEntry:
        """Return an entry by its number, 1 to ``count``."""
        if number > capacity(self._mapped[0]):
            self._remap()
        return IndexEntry(*_fields_at(self._mapped[3], _ENTRY_0 + _ENTRY_BYTES * number))

    def append_locked(self, entry: IndexEntry) -> None:
        """Add an entry, which takes the slot of an older version of its key; raise OSError if the disk is full."""
        number = self.header[COUNT] + 1
        self.recover_locked()
        if number > capacity(self._mapped[0]):
            self._grow_locked()
        pwrite_all(self._fd, entry.pack(), _ENTRY_0 + _ENTRY_BYTES * number)
        header, table, slot = self.header, self._mapped[2], self._slot_of(entry.digest)
        header[_PENDING_OLD] = table[slot]
        header[_PENDING_SLOT] = slot + 1
        table[slot] = number
        header[TAIL] = entry.end
        header[COUNT] = number
        self._mark_dead_locked(header[_PENDING_OLD])
        header[_PENDING_SLOT] = 0

    def holds_version(self, digest: bytes) -> bool:
        """Return whether a version of this key is alive."""
        number = self._mapped[2][self._slot_of(digest)]
        return number != 0 and not self.is_dead(number)

    def retire_locked(self, digest: bytes) -> None:
        """Mark the entry of the latest version of this key as dead, if there is one."""
        self.recover_locked()
        self._mark_dead_locked(self._mapped[2][self._slot_of(digest)])

    def discard_locked(self, digest: bytes) -> bool:
        """Have no process find the entry of this key any more, by any table; return whether there was one."""
        self.recover_locked()
        found, any_found = self.find(digest), False
        while found is not None:  # a damaged one may come to light behind it
            number, any_found = found[0], True
            was_dead = self.is_dead(number)
            pwrite_all(self._fd, DISCARDED, _ENTRY_0 + _ENTRY_BYTES * number + CRC_BYTE)
            self.header[DEAD] += not was_dead
            found = self.find(digest)
        return any_found

    def _mark_dead_locked(self, number: int) -> None:
        if number and not self.is_dead(number):
            pwrite_all(self._fd, b"\1", _ENTRY_0 + _ENTRY_BYTES * number + DEAD_BYTE)
            self.header[DEAD] += 1

    def recover_locked(self) -> None:
        """Map what there is now, and complete or undo what a writer that was killed or interrupted has left half done.

        If its entry became valid, the older version is dead; else that has its slot again.
        """
        if self._mapped[0] != self.header[BITS]:
            self._remap()
        slot, old, table = self.header[_PENDING_SLOT] - 1, self.header[_PENDING_OLD], self._mapped[2]
        if 0 <= slot < len(table) and old <= self.header[COUNT]:  # else it is damaged
            if table[slot] > self.header[COUNT]:
                table[slot] = old
            elif table[slot] != old:
                self._mark_dead_locked(old)
        if slot >= 0:
            self.header[_PENDING_SLOT] = 0

    def _slot_of(self, digest: bytes) -> int:
        """Return the slot of the latest version of this key, or the empty one that it goes into."""
        _, mask, table, entries = self._mapped
        slot: int = _hash_of(digest)[0] & mask
        while table[slot] and _fields_at(entries, _ENTRY_0 + _ENTRY_BYTES * table[slot])[0][:8] != digest[:8]:
            slot = (slot + 1) & mask
        return slot

    def _grow_locked(self) -> None:
        bits = self._mapped[0] + 1
        old_path, path = table_path(self._stem, self._mapped[0]), table_path(self._stem, bits)
        entries = np.frombuffer(self._mapped[3], _ENTRY_DTYPE, self.header[COUNT], _HEADER_BYTES)
        try:
            inode = create_file(path, build_table(entries["hash"], bits).tobytes())
            os.ftruncate(self._fd, _index_bytes(bits))
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self.header[_TABLE_INODE + bits] = inode
        self.header[BITS] = bits
        self._remap()
        old_path.unlink(missing_ok=True)


def _index_bytes(bits: int) -> int:
    return _HEADER_BYTES + _ENTRY_BYTES * capacity(bits)
