"""An entry of an index, and its form in the file."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

ENTRY = struct.Struct("<16sQQIHHI4x")
DEAD_BYTE = ENTRY.size - 4  # the first of the padding: not zero once the entry is dead


class IndexEntry(NamedTuple):
    """Where a value is in the arena.

    offset, length: of the payload, in bytes. description_length: of the description behind it. crc: of payload and
    description. entry_crc: of this entry itself.
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
        """Return the entry's bytes, with its checksum."""
        return ENTRY.pack(*self[:-1], self._computed_crc())

    def intact(self) -> bool:
        """Return whether the entry matches its checksum."""
        return self.entry_crc == self._computed_crc()

    def _computed_crc(self) -> int:
        return zlib.crc32(ENTRY.pack(*self[:-1], 0))
