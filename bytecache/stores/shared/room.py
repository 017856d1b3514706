"""Whether a store has room for a value of a function, in its budget, its file system, and under ``maxsize``."""

from __future__ import annotations

from ..codec import Encoded
from .binding import Binding
from .segment import Segment


def is_full(binding: Binding, maxsize: int | None) -> bool:
    """Return whether there is no room for one more value of the mean size."""
    handle, segment = binding.handle, binding.segment
    if segment is None or handle.readonly or handle.disk_full or _is_at(maxsize, segment):
        return True
    mean = segment.currbytes / len(segment) if len(segment) else 0
    return handle.header.used_bytes + mean > handle.header.maxbytes


def is_refused(binding: Binding, segment: Segment, key: bytes, encoded: Encoded, maxsize: int | None) -> bool:
    """Return whether there is no room for a value, and none to be made, as far as can be seen without the lock.

    With it all processes would queue up to be refused.
    """
    header = binding.handle.header
    others = header.used_bytes - header.used_bytes_of(
        binding.function_row
    )  # a killed writer may have left more of ours
    fits = others + segment.currbytes + segment.stored_size(encoded) <= header.maxbytes
    if fits and not _is_at(maxsize, segment):
        return False
    return not (is_mostly_dead(segment) or segment.index.holds_version(key))


def make_room_locked(binding: Binding, segment: Segment, key: bytes, encoded: Encoded, maxsize: int | None) -> bool:
    """Return whether there is room for a value; if not, an earlier version of it is dead, which may make some."""
    nbytes = segment.stored_size(encoded)
    has_room = binding.handle.has_room_locked(nbytes)
    if has_room and not _is_at(maxsize, segment):
        return True
    segment.index.retire_locked(key)
    return has_room and not _is_at(maxsize, segment)


def is_mostly_dead(segment: Segment) -> bool:
    """Return whether more than half of the values are dead."""
    return 2 * segment.index.dead > segment.index.count


def _is_at(maxsize: int | None, segment: Segment) -> bool:
    return maxsize is not None and len(segment) >= maxsize
