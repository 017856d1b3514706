"""What changes the values of one function, under the store's writer lock."""

from __future__ import annotations

from ..base import MISSING
from ..codec import Encoded
from .binding import Binding, begin_anew_locked, replace_damaged_locked
from .counters import CounterRow
from .room import is_mostly_dead, make_room_locked
from .segment import Segment

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
        if not make_room_locked(binding, segment, key, encoded, maxsize):
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
    if not is_mostly_dead(segment):
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
