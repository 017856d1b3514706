"""How one function's values change under the store's writer lock, and whether there is room for one more."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from ..base import MISSING
from ..codec import Encoded
from .binding import Binding, begin_anew_locked, replace_damaged_locked
from .counters import CounterRow
from .handle import ReentrantWrite
from .locks import LockTimeout
from .segments.index import COUNT, DEAD
from .segments.segment import Segment


class BegunAnew(Exception):
    """The function has begun a new generation, whose number this has."""

    def __init__(self, generation: int) -> None:
        super().__init__(generation)
        self.generation = generation


class Item(NamedTuple):
    """A value to be stored under a digest, and its bytes."""

    key: bytes
    value: Any
    encoded: Encoded


# Stored and evicted values are counted under the writer's mutex, not under the partition's lock: a signal handler that
# stores a value, in a thread that has that lock, would take the two in the other order. They are the first thing that
# is done at the end, and nothing is called for them: an interrupt strikes where a function is entered.


def store_all(binding: Binding, items: Sequence[Item], stored: list[bool | None], maxsize: int | None) -> None:
    """Store values under one writer's lock, and write into `stored`, in the place of each None, what put returns.

    Those that will be refused do not wait for the lock. Raise HandleClosed if the binding's files are, and BegunAnew if
    the function's values were, to make room: those that are left go into the new ones.
    """
    handle, segment = binding.handle, binding.segment
    pending = deque(position for position, was_stored in enumerate(stored) if was_stored is None)
    while pending:
        for position in list(pending):
            if segment is None or _is_refused(binding, segment, items[position], maxsize):
                has_value = segment is not None and items[position].key in segment
                stored[position] = None if has_value else False
                pending.remove(position)
        if not pending or segment is None:
            return
        try:
            return handle.with_writer_lock(partial(_put_all_locked, binding, segment, items, pending, stored, maxsize))
        except (ReentrantWrite, LockTimeout):
            return
        except OSError as exc:
            refused = pending.popleft() if pending else None
            if refused is None:  # the lock could not be released
                return handle.warn_not_stored(exc)
            stored[refused] = False
            handle.warn_not_stored(exc, items[refused].encoded.payload.nbytes)


def _put_all_locked(
    binding: Binding,
    segment: Segment,
    items: Sequence[Item],
    pending: deque[int],
    stored: list[bool | None],
    maxsize: int | None,
) -> None:
    """Store the pending values. After an OSError the first of `pending` is the one that it was raised for."""
    while pending:
        item = items[pending[0]]
        stored[pending[0]] = put_locked(binding, segment, item.key, item.encoded, maxsize)
        pending.popleft()


def put_locked(binding: Binding, segment: Segment, key: bytes, encoded: Encoded, maxsize: int | None) -> bool | None:
    """Store a value and return True; False if it does not fit, None if it is not wanted any more; see store_all."""
    if binding.is_stale() or segment.get(key, copy=False) is not MISSING:
        return None
    header, row, index = binding.handle.header, binding.function_row, segment.index
    header.set_used_bytes_locked(row, segment.currbytes)  # a killed writer may have left more
    words, entries, dead = index.header, index.count, index.dead
    if index.is_full:  # it will need a larger table, which is another file
        binding.handle.check_names_locked()
    nbytes = segment.stored_size(encoded)
    try:
        if not _make_room_locked(binding, segment, key, nbytes, maxsize):
            if not _has_room_anew(binding, segment, nbytes, maxsize):
                return False
            raise BegunAnew(_begin_anew_locked(binding, segment))
        header.set_used_bytes_locked(row, segment.currbytes + nbytes)  # before the write: never too little
        segment.append_locked(key, encoded)
    except (ValueError, FileNotFoundError):  # a file was removed, replaced or cut short
        replace_damaged_locked(binding.handle, row)
        return None
    finally:
        binding.counters[CounterRow.STORED] += words[COUNT] - entries
        binding.counters[CounterRow.EVICTED] += words[DEAD] - dead
        if not binding.is_stale():
            header.set_used_bytes_locked(row, segment.currbytes)
    return True


def _begin_anew_locked(binding: Binding, segment: Segment) -> int:
    """Give the function a new, empty segment, and return its generation; values that are not dead are evicted."""
    alive = len(segment)
    try:
        begin_anew_locked(binding.handle, binding.function_row)
    finally:
        if binding.words[binding.generation_word] != binding.generation:
            binding.counters[CounterRow.EVICTED] += alive
    return binding.handle.header.generation_of(binding.function_row)


def discard_locked(binding: Binding, segment: Segment, key: bytes) -> bool | None:
    """Remove a value and return whether there was one; None if the binding is not to what is valid now."""
    if binding.is_stale():
        return None
    words, dead = segment.index.header, segment.index.dead
    try:
        return segment.index.discard_locked(key)
    except (ValueError, FileNotFoundError):  # a file was removed, replaced or cut short
        replace_damaged_locked(binding.handle, binding.function_row)
        return False
    finally:  # not one that was dead already, and counted then
        binding.counters[CounterRow.EVICTED] += words[DEAD] - dead


def is_full(binding: Binding, maxsize: int | None) -> bool:
    """Return whether there is no room for one more value of the mean size."""
    handle, segment = binding.handle, binding.segment
    if segment is None or handle.readonly or handle.disk_full or _is_at(maxsize, segment):
        return True
    count = len(segment)
    mean = segment.currbytes / count if count else 0
    return handle.header.used_bytes + mean > handle.header.maxbytes


def _is_refused(binding: Binding, segment: Segment, item: Item, maxsize: int | None) -> bool:
    """Return whether there is no room for a value, and none to be made, as far as can be seen without the lock.

    With it all processes would queue up to be refused.
    """
    handle = binding.handle
    if handle.readonly or (handle.disk_full and handle.is_hopeless(item.encoded.payload.nbytes)):
        return True
    nbytes = segment.stored_size(item.encoded)
    fits = _fits(binding, segment.currbytes + nbytes) and not _is_at(maxsize, segment)
    return not (fits or _has_room_anew(binding, segment, nbytes, maxsize) or segment.index.holds_version(item.key))


def _fits(binding: Binding, nbytes: int) -> bool:
    """Return whether the budget is enough for so many bytes of the function's values beside those of others."""
    header = binding.handle.header
    # A killed writer may have left more of ours.
    others = header.used_bytes - header.used_bytes_of(binding.function_row)
    return others + nbytes <= header.maxbytes


def _make_room_locked(binding: Binding, segment: Segment, key: bytes, nbytes: int, maxsize: int | None) -> bool:
    """Return whether there is room for a value; if not, an earlier version of it is dead, which may make some."""
    has_room = binding.handle.has_room_locked(nbytes)
    if has_room and not _is_at(maxsize, segment):
        return True
    segment.index.retire_locked(key)
    return has_room and not _is_at(maxsize, segment)


def _has_room_anew(binding: Binding, segment: Segment, nbytes: int, maxsize: int | None) -> bool:
    """Return whether more than half of the values are dead, and keep one from being stored for which there is room."""
    if 2 * segment.index.dead <= segment.index.count or _is_at(maxsize, segment):
        return False
    return _fits(binding, nbytes)


def _is_at(maxsize: int | None, segment: Segment) -> bool:
    return maxsize is not None and len(segment) >= maxsize
