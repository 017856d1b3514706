"""What changes the values of one function, under the store's writer lock."""

from __future__ import annotations

from ..base import MISSING
from ..codec import Encoded
from .binding import Binding, begin_anew_locked, replace_damaged_locked
from .counters import CounterRow
from .segment import Segment

# Stored and evicted values are counted under the writer's mutex, not under the partition's lock: a signal handler that
# stores a value, in a thread that has that lock, would take the two in the other order.


def put_locked(binding: Binding, segment: Segment, key: bytes, encoded: Encoded, maxsize: int | None) -> bool | None:
    """Store a value and return True; False if it does not fit, None if it is not wanted any more."""
    if binding.is_stale() or segment.get(key, copy=False) is not MISSING:
        return None
    header, row, nbytes = binding.handle.header, binding.function_row, segment.stored_size(encoded)
    header.set_used_bytes_locked(row, segment.currbytes)  # a killed writer may have left more
    if segment.index.retire_locked(key):
        binding.counters[CounterRow.EVICTED] += 1
    at_most = maxsize is not None and len(segment) >= maxsize
    if at_most or not binding.handle.has_room_locked(nbytes):
        if not segment.index.is_mostly_dead:
            return False
        binding.counters[CounterRow.EVICTED] += len(segment)
        begin_anew_locked(binding.handle, row)
        return None
    header.set_used_bytes_locked(row, segment.currbytes + nbytes)  # before the write: never too little
    entries = segment.index.count
    if segment.index.is_full:  # it will need a larger table, which is another file
        binding.handle.check_names_locked()
    try:
        segment.append_locked(key, encoded)
    except (ValueError, FileNotFoundError):  # a file was removed, replaced or cut short
        replace_damaged_locked(binding.handle, row)
        return None
    finally:
        if not binding.is_stale():
            header.set_used_bytes_locked(row, segment.currbytes)
        if segment.index.count > entries:  # also if an interrupt struck once the entry counted
            binding.counters[CounterRow.STORED] += 1
    return True


def discard_locked(binding: Binding, segment: Segment, key: bytes) -> bool | None:
    """Remove a value and return whether there was one; None if the binding is not to what is valid now."""
    if binding.is_stale():
        return None
    entries = len(segment)
    try:
        return segment.index.discard_locked(key)
    except (ValueError, FileNotFoundError):  # a file was removed, replaced or cut short
        replace_damaged_locked(binding.handle, binding.function_row)
        return False
    finally:  # fewer, unless it was dead already, and counted then
        binding.counters[CounterRow.EVICTED] += max(0, entries - len(segment))
