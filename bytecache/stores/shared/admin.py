"""What a shared store holds and how it was used, looked at from outside while jobs go on using it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from ...system.filesystem import filesystem_type
from . import counters as tally
from .handle import StoreHandle
from .header import CREATED_NS, GENERATION, PROCESSES, USED
from .index import COUNT
from .segment import Segment

_BLOCK_BYTES = 512  # the unit of st_blocks, on every file system
_COUNTS = (tally.HITS, tally.MISSES, tally.ERRORS, tally.STORED, tally.REJECTED)
_COUNT_NAMES = ("hits", "misses", "errors", "stored", "rejected")
Facts = dict[str, Any]


class StoreNotFound(Exception):
    """There is no shared store at a path: says what was expected and what came."""


def describe(path: str | os.PathLike[str]) -> Facts:
    """What is held of each function, and what each process did; sizes in bytes, times in seconds, dates in UTC.

    beside_bytes: what the files of the store take on disk, but for the values. Raises StoreNotFound.
    """
    with _open_unattached(path) as files:
        return _describe(files)


def _describe(files: StoreHandle) -> Facts:
    words, space = files.head.words, os.statvfs(files.folder)
    functions = [_describe_function(files, row) for row in files.head.rows()]
    held = files.head.used()
    return {
        "path": str(files.folder),
        "filesystem": filesystem_type(files.folder),
        "free_bytes": space.f_bavail * space.f_frsize,
        "created": _date(words[CREATED_NS]),
        "age_s": max(0.0, (time.time_ns() - words[CREATED_NS]) / 1e9),
        "entries": sum(function["entries"] for function in functions),
        "held_bytes": held,
        "maxbytes": files.maxbytes,
        "held_share": held / files.maxbytes if files.maxbytes else 0.0,
        "beside_bytes": _disk_bytes(files.folder, values=False),
        "functions": functions,
    }


def verify(path: str | os.PathLike[str]) -> Facts:
    """Reads every entry against its checksum; ``damaged`` lists those that do not fit, or are not found by their key.

    An entry that a run found damaged, and put another one in the place of, is not in the list. An entry of None
    there stands for all of a function whose files cannot be read. Raises StoreNotFound.
    """
    entries, read_bytes = 0, 0
    damaged: list[Facts] = []
    with _open_unattached(path) as files:
        for row in files.head.rows():
            name = files.head.name(row)
            try:
                section = _open_segment(files, row)
            except ValueError as exc:
                damaged.append({"function": name, "entry": None, "problem": str(exc)})
                continue
            if section is None:
                continue
            for number in _entry_numbers(section):
                nbytes, problem = _verify_entry(section, number)
                entries, read_bytes = entries + 1, read_bytes + nbytes
                if problem:
                    damaged.append({"function": name, "entry": number, "problem": problem})
        return {"path": str(files.folder), "entries": entries, "read_bytes": read_bytes, "damaged": damaged}


def clear(path: str | os.PathLike[str]) -> Facts:
    """Forgets the values and figures of all functions; what they were, in entries, bytes, and bytes of files.

    A process that uses the store keeps the memory of what it has mapped until its next call. Raises StoreNotFound.
    """
    with _open_unattached(path) as files:
        facts = _describe(files)
        before = _disk_bytes(files.folder)
        files.clear()
        freed = before - _disk_bytes(files.folder)
    kept = {name: facts[name] for name in ("path", "entries", "held_bytes")}
    return {**kept, "functions": len(facts["functions"]), "freed_bytes": max(0, freed)}


@contextmanager
def _open_unattached(path: str | os.PathLike[str]) -> Iterator[StoreHandle]:
    """The files of the store at a path, not held: who looks on must not keep a run from being the first one there."""
    try:
        files = StoreHandle(Path(os.path.abspath(path)))
    except (FileNotFoundError, NotADirectoryError, ValueError) as exc:
        raise StoreNotFound(
            "expected the folder of a shared store (the path= it was made with, or /dev/shm/bytecache-...), "
            f"got {os.fspath(path)!r}: {_explain_missing(Path(path), exc)}"
        ) from None
    try:
        yield files
    finally:
        files.close()


def _explain_missing(path: Path, exc: Exception) -> str:
    if isinstance(exc, ValueError):
        return str(exc)
    if not path.exists():
        return "nothing is there"
    if not path.is_dir():
        return "that is a file"
    found = sorted(os.listdir(path))
    return f"a folder without the file 'head', with {found[0]!r} in it" if found else "an empty folder"


def _describe_function(files: StoreHandle, row: int) -> Facts:
    problem, entries = None, 0
    try:
        section = _open_segment(files, row)
        entries = len(section) if section is not None else 0
    except ValueError as exc:
        problem = str(exc)
    words = files.head.words
    mine = files.tallies.rows(words[PROCESSES], row, words[row + GENERATION])
    return {
        "name": files.head.name(row),
        "entries": entries,
        "held_bytes": words[row + USED],
        **_counters(mine.sum(axis=0)),
        "problem": problem,
        "processes": [
            {"pid": int(one[tally.PID]), "started": _date(int(one[tally.STARTED_NS])), **_counters(one)} for one in mine
        ],
    }


def _counters(row: Any) -> Facts:
    """The counters of a row of the tally, by name."""
    figures: Facts = {name: int(row[place]) for name, place in zip(_COUNT_NAMES, _COUNTS, strict=True)}
    calls = figures["hits"] + figures["misses"]
    return {**figures, "hit_rate": figures["hits"] / calls if calls else 0.0, "read_s": int(row[tally.LOAD_NS]) / 1e9}


def _open_segment(files: StoreHandle, row: int) -> Segment | None:
    """A function's values, None where it has none; raises ValueError where the files cannot be what they should."""
    while True:
        generation = files.head.words[row + GENERATION]
        if not Segment.exists(files.folder, generation):
            return None
        try:
            return files.with_writer_lock(partial(_open_checked, files.folder, generation))
        except FileNotFoundError as exc:
            if generation == files.head.words[row + GENERATION]:  # else it was cleared a moment ago
                raise ValueError(f"{exc.filename} is missing") from None


def _open_checked(folder: Path, generation: int) -> Segment:
    section = Segment(folder, generation)
    section.index.check()
    return section


def _entry_numbers(section: Segment) -> range:
    """The numbers of all entries, replaced ones among them; what they stand for can be read."""
    return range(1, section.index.header[COUNT] + 1)


def _verify_entry(section: Segment, number: int) -> tuple[int, str]:
    """The bytes of an entry's value, and what is wrong with it."""
    entry = section.index.entry(number)
    found = section.index.find(entry.digest)
    if section.verify(entry):
        return entry.end - entry.offset, "" if found else "it is not found by its key"
    replaced = entry.intact() and found is not None and found[0] != number
    return 0, "" if replaced else "it does not fit its checksum"


def _disk_bytes(folder: Path, values: bool = True) -> int:
    """Bytes that the files of a store take on disk, with those of values or without."""
    total = 0
    for file in folder.iterdir():
        if values or file.suffix != ".arena":
            try:
                total += file.stat().st_blocks * _BLOCK_BYTES
            except FileNotFoundError:  # a job has just removed it
                pass
    return total


def _date(ns: int) -> str:
    ns = min(ns, 1 << 62)  # the year 2116, where it is damaged
    return datetime.fromtimestamp(ns / 1e9, timezone.utc).isoformat(timespec="seconds")
