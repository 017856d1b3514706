"""How one function's values change under the store's writer lock, and whether there is room for one more."""

from __future__ import annotations

from ..base import MISSING
from ..codec import Encoded
from .binding import Binding, begin_anew_locked, replace_damaged_locked
from .counters import CounterRow
from .segments.segment import Segment

# Stored and evicted values are counted under the writer's mutex, not under the partition's lock: a signal handler that
# stores a value, in a thread that has that lock, would take the two in the other order.


def put_locked(binding: Binding, segment: Segment, key: bytes, encoded: Encoded, maxsize: int | None) -> bool | None:
    """Store a value and return True; False if it does not fit, None if it is not wanted any more."""
    if binding.is_stale() or segment.get(key, copy=False) is not MISSING:
        return None
    header, row, index = binding.handle.header, binding.function_row, segment.index
    header.set_used_bytes_locked(row, segment.currbytes)  # a killed writer may have left more
    entries, dead = index.count, index.dead
    if index.is_full:  # it will need a larger table, which is another file
        binding.handle.check_names_locked()
    try:
        if not _make_room_locked(binding, segment, key, encoded, maxsize):
            return _begin_anew_if_dead_locked(binding, segment)
        # before the write: never too little
        header.set_used_bytes_locked(row, segment.currbytes + segment.stored_size(encoded))
        segment.append_locked(key, encoded)
    except (ValueError, FileNotFoundError):  # a file was removed, replaced or cut short
        replace_damaged_locked(binding.handle, row)
        return None
    finally:
        if not binding.is_stale():
            header.set_used_bytes_locked(row, segment.currbytes)
        # Also if an interrupt struck once the entry counted.
        binding.counters[CounterRow.STORED] += index.count - entries
        binding.counters[CounterRow.EVICTED] += index.dead - dead
    return True


def _begin_anew_if_dead_locked(binding: Binding, segment: Segment) -> bool | None:
    """Begin the function's values anew if that makes most of the room; return what became of a value."""
    if not _is_mostly_dead(segment):
        return False
    binding.counters[CounterRow.EVICTED] += len(segment)
    begin_anew_locked(binding.handle, binding.function_row)
    return None


def discard_locked(binding: Binding, segment: Segment, key: bytes) -> bool | None:
    """Remove a value and return whether there was one; None if the binding is not to what is valid now."""
    if binding.is_stale():
        return None
    dead = segment.index.dead
    try:
        return segment.index.discard_locked(key)
    except (ValueError, FileNotFoundError):  # a file was removed, replaced or cut short
        replace_damaged_locked(binding.handle, binding.function_row)
        return False
    finally:  # not one that was dead already, and counted then
        binding.counters[CounterRow.EVICTED] += segment.index.dead - dead


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
    return not (_is_mostly_dead(segment) or segment.index.holds_version(key))


def _make_room_locked(binding: Binding, segment: Segment, key: bytes, encoded: Encoded, maxsize: int | None) -> bool:
    """Return whether there is room for a value; if not, an earlier version of it is dead, which may make some."""
    nbytes = segment.stored_size(encoded)
    has_room = binding.handle.has_room_locked(nbytes)
    if has_room and not _is_at(maxsize, segment):
        return True
    segment.index.retire_locked(key)
    return has_room and not _is_at(maxsize, segment)


def _is_mostly_dead(segment: Segment) -> bool:
    """Return whether more than half of the values are dead."""
    return 2 * segment.index.dead > segment.index.count


def _is_at(maxsize: int | None, segment: Segment) -> bool:
    return maxsize is not None and len(segment) >= maxsize
