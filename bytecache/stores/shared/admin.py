"""A shared store seen from outside: inspected, verified and cleared while jobs go on using it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from ...system.filesystem import disk_bytes, filesystem_type, resolve_folder
from .counters import CounterRow, counts_of
from .handle import StoreHandle
from .header import StoreHeader
from .reports import ClearReport, CounterReport, DamagedEntry, FunctionReport, StoreReport, VerifyReport
from .segment import Segment


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


def clear(path: str | os.PathLike[str]) -> ClearReport:
    """Remove the values and reset the counters of all functions.

    A process that uses the store keeps the memory of what it has mapped until its next call. Raises StoreNotFound.
    """
    with _open_unattached(path) as files:
        report = _describe(files)
        before = disk_bytes(files.folder)
        files.clear()
        freed = before - disk_bytes(files.folder)
    return {
        "path": report["path"],
        "entries": report["entries"],
        "currbytes": report["currbytes"],
        "functions": len(report["functions"]),
        "freed_bytes": max(0, freed),
    }


@contextmanager
def _open_unattached(path: str | os.PathLike[str]) -> Iterator[StoreHandle]:
    """Open the store at a path without attaching to it: an inspection must not keep a run from being the first one."""
    try:
        files = _open_files(StoreHeader.place(resolve_folder(path)))
    except (FileNotFoundError, NotADirectoryError, ValueError) as exc:
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
        "name": files.header.function_name(row),
        "entries": entries,
        "currbytes": header.used_bytes_of(row),
        **_counters(counter_rows.sum(axis=0)),
        "problem": problem,
        "processes": [
            {"pid": int(one[CounterRow.PID]), "started": _date(int(one[CounterRow.STARTED_NS])), **_counters(one)}
            for one in counter_rows
        ],
    }


def _counters(counter_row: Any) -> CounterReport:
    """Return the counters of a counter row by name."""
    counts = counts_of(counter_row)
    calls = counts.hits + counts.misses
    return {
        "hits": counts.hits,
        "misses": counts.misses,
        "errors": counts.errors,
        "stored": counts.stored,
        "rejected": counts.rejected,
        "evicted": counts.evicted,
        "hit_rate": counts.hits / calls if calls else 0.0,
        "load_s": counts.load_s,
    }


def _open_segment(files: StoreHandle, row: int) -> Segment | None:
    """Return a function's segment, None if it has no values; raise ValueError if its files are invalid."""
    while True:
        generation = files.header.generation_of(row)
        if not Segment.exists(files.folder, generation):
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
