"""What the first process of a run checks and repairs in a store's folder, before any other process sees it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from ...system.caller import warn_caller
from .counters import CounterFile
from .header import VERSION, StoreHeader
from .locks import WRITER_BYTE, ByteRangeLocks
from .segment import FILE_PATTERN, Segment

_STORE_FILES = re.compile(rf"head|locks|processes|{FILE_PATTERN.pattern}")
_IGNORED = re.compile(r".*\.part|aside[0-9]+|lost\+found")  # a folder with nothing else in it counts as empty


def initialize(folder: Path, maxbytes: int) -> None:
    """Make the folder an empty store, whatever a killed run has left in it."""
    for leftover in folder.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    StoreHeader.create(folder, maxbytes)


def recover(folder: Path, maxbytes: int) -> None:
    """Check the store in a folder and give it this run's budget; make an empty folder a new store.

    A store that is damaged or of another version is put into quarantine, with a RuntimeWarning: it is renamed, and no
    store is left in the folder. Raise ValueError for a folder with anything else in it, and OSError for what this
    process may not do.
    """
    present = {name for name in os.listdir(folder) if not _IGNORED.fullmatch(name)}
    if not present:
        StoreHeader.create(folder, maxbytes)
        return
    if not StoreHeader.has_magic(folder) and not all(_STORE_FILES.fullmatch(name) for name in present):
        raise ValueError(
            f"path must be a new or empty folder, or that of a shared store; {folder} contains {min(present)!r}"
        )
    try:
        _adopt(folder, maxbytes)
    except (ValueError, FileNotFoundError, IsADirectoryError) as exc:
        reason = f"is damaged, or of another version than {VERSION} ({exc})"
        warn_caller(
            f"the shared store {folder} {reason}: it was renamed to {_quarantine(folder)}, and a new one is created"
        )


def _adopt(folder: Path, maxbytes: int) -> None:
    header = StoreHeader(folder)
    locks = ByteRangeLocks(folder / "locks")
    try:
        locks.acquire(WRITER_BYTE)  # a process that is not attached may clear the store
        _adopt_locked(folder, header, maxbytes)
    finally:
        locks.close()


def _adopt_locked(folder: Path, header: StoreHeader, maxbytes: int) -> None:
    header.check(CounterFile(folder / "processes").capacity())
    for row in header.function_rows():
        used_bytes, generation = 0, header.generation_of(row)
        if Segment.exists(folder, generation):  # it does not if the process that added the function was killed
            segment = Segment(folder, generation)
            segment.adopt_locked()
            used_bytes = segment.currbytes
        header.set_used_bytes_locked(row, used_bytes)
    Segment.remove_all_but_locked(folder, header.generations())
    header.maxbytes = maxbytes


def _quarantine(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.aside{number}")).exists() or (folder / f"aside{number}").exists():
        number += 1
    try:
        return folder.rename(aside)
    except OSError:  # a mount point, or its parent belongs to another user
        inside = folder / f"aside{number}"
        inside.mkdir(mode=0o700)
        for path in folder.iterdir():
            if not _IGNORED.fullmatch(path.name):
                path.rename(inside / path.name)
        return inside
