"""How a process gets at the values of one function: the row, the segment and the counters that are its own now."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from ...system.caller import warn_caller
from .counters import CounterRow, Row, add_counts, private_row
from .handle import StoreHandle
from .header import FunctionRow
from .segments.segment import Segment

_OPEN_ATTEMPTS = 3  # while a cleaner of files is at work


class Binding(NamedTuple):
    """A process's access to one generation of a function's values.

    words, generation_word: where the store's header has the generation that is valid now. segment: None if the file
    system had no space for one. counters: this process's row.
    """

    handle: StoreHandle
    function_row: int
    words: memoryview
    generation_word: int
    generation: int
    segment: Segment | None
    counters: Row

    def is_stale(self) -> bool:
        """Return whether the function was cleared in the meantime."""
        return bool(self.words[self.generation_word] != self.generation)

    def goes_on_in(self, handle: StoreHandle, row: int) -> bool:
        """Return whether what this process has counted still counts for the function of a row."""
        since = handle.header.counted_since(row)
        return (self.handle, self.function_row, self.counters[CounterRow.COUNTED_SINCE]) == (handle, row, since)


def bind_locked(
    handle: StoreHandle, function_id: bytes, name: str, before: Binding | None = None, keeps_values: bool = True
) -> Binding:
    """Return access to the function's values, with files and a row for it that are created if there are none.

    before: this process's binding so far, whose counters go on if the function was not cleared. keeps_values: whether
    it is worth a warning if there is no room for any.
    """
    handle.check_names_locked()
    header, row = handle.header, handle.header.find_function(function_id)
    if row is None:
        if keeps_values and header.used_bytes > 0.99 * header.maxbytes:
            handle.warn_full_of_others(name)
        row = header.add_function_locked(function_id, name)
    segment: Segment | None = None
    counters = _counters_so_far(handle, row, before)
    try:
        segment = _open_segment_locked(handle, row)
        if counters is None:
            number = header.counter_rows
            counters = handle.counters.claim_locked(number, row, header.counted_since(row))
            header.counter_rows = number + 1
            _add_uncounted(counters, before)
        handle.disk_full = False
    except OSError as exc:
        handle.warn_not_stored(exc)
        counters = counters or _private_counters(handle, row, before)
    generation = header.generation_of(row)
    return Binding(handle, row, header.words, row + FunctionRow.GENERATION, generation, segment, counters)


def bind_readonly(handle: StoreHandle, function_id: bytes, before: Binding | None = None) -> Binding:
    """Return access to the function's values as they are, with counters of this process alone.

    If no process has stored any yet, the next call looks again.
    """
    header, row = handle.header, handle.header.find_function(function_id)
    if row is None or not header.index_inode(row):
        return unbacked(handle, before, stale=True)
    generation, segment = header.generation_of(row), None
    try:
        segment = Segment(handle.folder, generation, readonly=True)
        segment.index.check()
    except (OSError, ValueError) as exc:
        segment = None
        if header.generation_of(row) == generation:  # else it was cleared a moment ago
            handle.warn_not_stored(exc if isinstance(exc, OSError) else OSError(errno.EIO, str(exc)))
    counters = _counters_so_far(handle, row, before) or _private_counters(handle, row, before)
    return Binding(handle, row, header.words, row + FunctionRow.GENERATION, generation, segment, counters)


def unbacked(handle: StoreHandle, before: Binding | None = None, stale: bool = False) -> Binding:
    """Return a binding to no files, in which nothing is stored; it goes on with the counts of one before it."""
    row = 0 if before is None else before.function_row
    if before is None or (row and not before.goes_on_in(handle, row)):
        row, counters = 0, private_row(0, 0)
    else:
        counters = before.counters
    return Binding(handle, row, memoryview(bytes([stale])), 0, 0, None, counters)


def _counters_so_far(handle: StoreHandle, row: int, before: Binding | None) -> Row | None:
    return before.counters if before is not None and before.goes_on_in(handle, row) else None


def _private_counters(handle: StoreHandle, row: int, before: Binding | None) -> Row:
    counters = private_row(row, handle.header.counted_since(row))
    _add_uncounted(counters, before)
    return counters


def _add_uncounted(counters: Row, before: Binding | None) -> None:
    """Add what was counted while the function's row was not known."""
    if before is not None and not before.function_row:
        add_counts(counters, before.counters)


def _open_segment_locked(handle: StoreHandle, row: int) -> Segment:
    """Open the files of a function's generation; create those of a new one if they are damaged or missing."""
    header = handle.header
    for _ in range(_OPEN_ATTEMPTS):
        if header.index_inode(row):
            try:
                return Segment(handle.folder, header.generation_of(row), header.index_inode(row), header.maxbytes)
            except (ValueError, FileNotFoundError, IsADirectoryError):
                replace_damaged_locked(handle, row)
        inode = Segment.create_locked(handle.folder, header.generation_of(row), header.maxbytes)
        header.set_index_inode_locked(row, inode)
    raise OSError(errno.ESTALE, "files vanish as soon as they are created", os.fspath(handle.folder))


def begin_anew_locked(handle: StoreHandle, row: int) -> None:
    """Give a function a new, empty segment, in all processes."""
    handle.check_names_locked()
    handle.header.new_generation_locked(row)
    Segment.remove_all_but_locked(handle.folder, handle.header.generations())


def replace_damaged_locked(handle: StoreHandle, row: int) -> None:
    """Give a function a new segment, since a file of the old one is damaged or missing; warn of it."""
    begin_anew_locked(handle, row)
    warn_caller(
        f"{handle.folder}: a file with the values of {handle.header.function_name(row)} was removed, replaced or cut "
        "short, as by a cleaner of temporary files: they are read again"
    )


def replace_if_damaged_locked(binding: Binding) -> None:
    """Give the binding's function a new segment if its files are damaged or missing, and no process has done so yet."""
    segment = binding.segment
    if segment is not None and not (binding.is_stale() or binding.handle.cut_off or segment.is_intact()):
        replace_damaged_locked(binding.handle, binding.function_row)
