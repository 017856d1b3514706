"""A shared store seen from outside: inspected, verified and cleared while jobs go on using it."""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from ...system.filesystem import disk_bytes, filesystem_type, resolve_folder
from ..tiered.rows import row_ids
from .counters import CounterRow, counts_of
from .handle import StoreHandle
from .header import StoreHeader
from .holders import is_in_use
from .locks import check_available
from .reports import ClearReport, DamagedEntry, FunctionReport, StoreReport, VerifyReport, report_counts
from .segments.segment import Segment


class StoreNotFound(Exception):
    """There is no shared store at a path; the message says what was expected and what is there."""


def describe(path: str | os.PathLike[str]) -> StoreReport:
    """Return what a store contains, and what each process did with each function. Raises StoreNotFound."""
    with _open_unattached(path) as files:
        return _describe(files)


def _describe(files: StoreHandle) -> StoreReport:
    header, space = files.header, os.statvfs(files.folder)
    functions = [_describe_function(files, row) for row in header.function_rows()]
    used = header.used_bytes
    return {
        "path": str(files.folder),
        "filesystem": filesystem_type(files.folder),
        "free_bytes": space.f_bavail * space.f_frsize,
        "created": _date(header.created_ns),
        "age_s": max(0.0, (time.time_ns() - header.created_ns) / 1e9),
        "entries": sum(function["entries"] for function in functions),
        "currbytes": used,
        "maxbytes": header.maxbytes,
        "used_fraction": used / header.maxbytes if header.maxbytes else 0.0,
        "overhead_bytes": disk_bytes(files.folder, without=".arena"),
        "functions": functions,
    }


def verify(path: str | os.PathLike[str]) -> VerifyReport:
    """Read every entry and check it against its checksum.

    An entry that a run found damaged and has replaced is not reported. Raises StoreNotFound.
    """
    entries, read_bytes = 0, 0
    damaged: list[DamagedEntry] = []
    with _open_unattached(path) as files:
        for row in files.header.function_rows():
            name = files.header.function_name(row)
            try:
                segment = _open_segment(files, row)
            except ValueError as exc:
                damaged.append({"function": name, "entry": None, "problem": str(exc)})
                continue
            if segment is None:
                continue
            for number in _entry_numbers(segment):
                nbytes, problem = _verify_entry(segment, number)
                entries, read_bytes = entries + 1, read_bytes + nbytes
                if problem:
                    damaged.append({"function": name, "entry": number, "problem": problem})
        return {"path": str(files.folder), "entries": entries, "read_bytes": read_bytes, "damaged": damaged}


def clear(path: str | os.PathLike[str], function: str | None = None, stale: bool = False) -> ClearReport:
    """Remove the values and reset the counters of all functions.

    function: of those of this name alone, whatever their version. stale: of those alone that no running process uses,
    see FunctionReport; if none uses any, of all but the version of each name that was used last. Their room is free at
    once, but a process that has mapped their files keeps that memory until its next call. Raises StoreNotFound, also
    if there is no function of this name.
    """
    with _open_unattached(path) as files:
        functions = _functions(files)
        rows = {key: [row for row in row_ids(key) if row in functions] for key in functions}  # of its other tiers
        for row in itertools.chain.from_iterable(rows.values()):
            del functions[row]
        of_name = functions if function is None else _of_name(functions, function, files.folder)
        chosen = {key: of_name[key] for key in _stale(files, functions) if key in of_name} if stale else of_name
        before = disk_bytes(files.folder)
        if function is None and not stale:
            files.clear()
        else:
            files.remove([*chosen, *(row for key in chosen for row in rows[key])])
        freed = before - disk_bytes(files.folder)
    return {
        "path": str(files.folder),
        "entries": sum(report["entries"] for report in chosen.values()),
        "currbytes": sum(report["currbytes"] for report in chosen.values()),
        "functions": len(chosen),
        "freed_bytes": max(0, freed),
    }


def _functions(files: StoreHandle) -> dict[bytes, FunctionReport]:
    """Return the reports on all functions by their ids, in the order of their rows."""
    header = files.header
    return {header.function_id(row): _describe_function(files, row) for row in header.function_rows()}


def _of_name(functions: dict[bytes, FunctionReport], name: str, folder: Path) -> dict[bytes, FunctionReport]:
    chosen = {key: report for key, report in functions.items() if report["name"] == name}
    if not chosen:
        names = ", ".join(sorted({report["name"] for report in functions.values()})) or "none"
        raise StoreNotFound(f"{folder} has no function {name!r}; it has {names}")
    return chosen


def _stale(files: StoreHandle, functions: dict[bytes, FunctionReport]) -> list[bytes]:
    if any(report["in_use"] for report in functions.values()):
        return [key for key, report in functions.items() if not report["in_use"]]
    latest = {functions[key]["name"]: key for key in sorted(functions, key=partial(_last_use_ns, files))}
    return [key for key, report in functions.items() if latest[report["name"]] != key]


def _last_use_ns(files: StoreHandle, function_id: bytes) -> int:
    """Return when the last process that has called a function called it first; 0 if it was not called."""
    row = files.header.find_function(function_id)
    counter_rows = () if row is None else files.counters.rows(files.header, row)
    return max((int(one[CounterRow.STARTED_NS]) for one in counter_rows), default=0)


@contextmanager
def _open_unattached(path: str | os.PathLike[str]) -> Iterator[StoreHandle]:
    """Open the store at a path without attaching to it: an inspection must not keep a run from being the first one."""
    check_available()
    try:
        files = _open_files(StoreHeader.place(resolve_folder(path)))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError) as exc:
        raise StoreNotFound(
            "expected the folder of a shared store (the path= it was made with, or /dev/shm/bytecache-...), "
            f"got {os.fspath(path)!r}: {_explain_missing(Path(path), exc)}"
        ) from None
    try:
        yield files
    finally:
        files.close()


def _open_files(folder: Path) -> StoreHandle:
    try:
        return StoreHandle(folder)
    except OSError as exc:
        if exc.errno not in (errno.EROFS, errno.EACCES):
            raise
        return StoreHandle(folder, readonly=True)


def _explain_missing(path: Path, exc: Exception) -> str:
    if isinstance(exc, ValueError):
        return str(exc)
    if not path.exists():
        return "it does not exist"
    if not path.is_dir():
        return "that is a file"
    found = sorted(os.listdir(path))
    return f"a folder without the file 'head', with {found[0]!r} in it" if found else "an empty folder"


def _describe_function(files: StoreHandle, row: int) -> FunctionReport:
    problem, entries = None, 0
    try:
        segment = _open_segment(files, row)
        entries = len(segment) if segment is not None else 0
    except ValueError as exc:
        problem = str(exc)
    header = files.header
    counter_rows = files.counters.rows(header, row)
    return {
        "id": header.function_id(row).hex(),
        "name": header.function_name(row),
        "in_use": _is_in_use(files, counter_rows),
        "entries": entries,
        "currbytes": header.used_bytes_of(row),
        **report_counts(counts_of(counter_rows.sum(axis=0))),
        "problem": problem,
        "processes": [
            {
                "pid": int(one[CounterRow.PID]),
                "started": _date(int(one[CounterRow.STARTED_NS])),
                **report_counts(counts_of(one)),
            }
            for one in counter_rows
        ],
    }


def _is_in_use(files: StoreHandle, counter_rows: Any) -> bool:
    status = os.stat(files.folder)
    last_use = {int(row[CounterRow.PID]): int(row[CounterRow.STARTED_NS]) / 1e9 for row in counter_rows}
    return any(is_in_use(files.folder, status, pid, since_s) for pid, since_s in reversed(last_use.items()))


def _open_segment(files: StoreHandle, row: int) -> Segment | None:
    """Return a function's segment, None if it has no values; raise ValueError if its files are invalid."""
    while True:
        generation = files.header.generation_of(row)
        if not files.header.index_inode(row):  # a file of it may be there, whose writer was killed
            return None
        try:
            work = partial(_open_checked, files, generation)
            return work() if files.readonly else files.with_writer_lock(work)
        except FileNotFoundError as exc:
            if generation == files.header.generation_of(row):  # otherwise it was cleared a moment ago
                raise ValueError(f"{exc.filename} is missing") from None


def _open_checked(files: StoreHandle, generation: int) -> Segment:
    segment = Segment(files.folder, generation, readonly=files.readonly)
    segment.index.check()
    if not files.readonly:
        segment.index.recover_locked()
    return segment


def _entry_numbers(segment: Segment) -> range:
    """Return the numbers of all entries, dead ones among them."""
    return range(1, segment.index.count + 1)


def _verify_entry(segment: Segment, number: int) -> tuple[int, str]:
    """Return the bytes of an entry's value, and what is wrong with it, "" if nothing is."""
    entry = segment.index.entry(number)
    found = segment.index.find(entry.digest)
    if segment.verify(entry):
        return entry.end - entry.offset, "" if found or segment.index.is_dead(number) else "is not found under its key"
    if not entry.entry_crc and segment.index.is_dead(number):  # it was discarded
        return 0, ""
    replaced = entry.intact() and found is not None and found[0] != number
    return 0, "" if replaced else "does not match its checksum"


def _date(ns: int) -> str:
    ns = min(ns, 1 << 62)  # a damaged date becomes the year 2116
    return datetime.fromtimestamp(ns / 1e9, timezone.utc).isoformat(timespec="seconds")
