"""What the first process of a run does to a store's folder before any other sees it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from ...system.caller import warn_caller
from .counters import CounterFile
from .header import VERSION, StoreHeader
from .locks import WRITER, ByteLocks
from .segment import FILE_PATTERN, Segment

_STORE_FILES = re.compile(rf"head|locks|processes|{FILE_PATTERN.pattern}")
_IGNORED = re.compile(r".*\.part|aside[0-9]+|lost\+found")  # what may lie in a folder that is empty all the same


def prepare_empty(folder: Path, maxbytes: int) -> None:
    """Makes the folder an empty store, whatever a run that was killed has left in it."""
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    StoreHeader.create(folder, maxbytes)


def prepare_kept(folder: Path, maxbytes: int) -> None:
    """Looks over the store in a folder and gives it this run's budget; an empty folder becomes a new store.

    A store that is damaged or of another version is put aside, with a RuntimeWarning: renamed, so that the folder is
    gone. Raises ValueError for a folder with anything else in it, and OSError for what this process may not do.
    """
    present = {name for name in os.listdir(folder) if not _IGNORED.fullmatch(name)}
    if not present:
        StoreHeader.create(folder, maxbytes)
        return
    if not StoreHeader.has_magic(folder) and not all(_STORE_FILES.fullmatch(name) for name in present):
        raise ValueError(
            f"path must be a new or empty folder, or one that a shared store has made; {folder} holds {min(present)!r}"
        )
    try:
        _check_and_adopt(folder, maxbytes)
    except (ValueError, FileNotFoundError, IsADirectoryError) as exc:
        reason = f"is damaged, or of another version than {VERSION} ({exc})"
        warn_caller(
            f"the shared store {folder} {reason}: it was renamed to {_quarantine(folder)}, and a new one is begun"
        )


def _check_and_adopt(folder: Path, maxbytes: int) -> None:
    header = StoreHeader(folder)
    locks = ByteLocks(folder / "locks")
    try:
        locks.acquire(WRITER)  # from those who only look, and may clear it
        _adopt_locked(folder, header, maxbytes)
    finally:
        locks.close()


def _adopt_locked(folder: Path, header: StoreHeader, maxbytes: int) -> None:
    header.check(CounterFile(folder / "processes").capacity())
    for row in header.function_rows():
        used_bytes, generation = 0, header.generation_of(row)
        if Segment.exists(folder, generation):  # not yet, if its writer was killed
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
    except OSError:  # a mount point, or the folder above it is not the user's
        inside = folder / f"aside{number}"
        inside.mkdir(mode=0o700)
        for path in folder.iterdir():
            if not _IGNORED.fullmatch(path.name):
                path.rename(inside / path.name)
        return inside
