"""What the first process of a run checks and repairs in a store's folder, before any other process sees it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...system.caller import warn_caller
from ...system.filesystem import check_not_network, resolve_folder
from .attachment import exclusive, remove_if_orphaned
from .counters import CounterRows
from .header import HEAD, VERSION, StoreHeader
from .locks import WRITER_BYTE, ByteRangeLocks
from .segments.segment import FILE_PATTERN, Segment

_STORE_FILES = re.compile(rf"{HEAD}|{FILE_PATTERN.pattern}")
_RESTORING = f"{HEAD}.restore.part"  # locked by the process that makes a header in the place of a lost one
# A folder with nothing else in it counts as empty.
_IGNORED = re.compile(r".*\.part|aside[0-9]+|format[0-9]+|lost\+found")
_UNFINISHED = re.compile(rf"{HEAD}.*\.part")  # files of a store without a path, which has no folders
_EXPLANATIONS = {
    errno.ENODEV: "its file system cannot map files into memory, as a FUSE pool without a page cache: give a path on a "
    "local disk or in /dev/shm",
    errno.ENAMETOOLONG: "the path is too long for its file system: give a shorter one",
    errno.ENOENT: "no folder can be made there, as in /proc: give a path on a local disk or in /dev/shm",
    errno.ENOTDIR: "a part of the path is a file, or a link to one: give a path of folders alone",
    errno.EROFS: "the file system is read-only: give a path on another one",
    errno.ELOOP: "links lead to one another in a circle: give a path without them",
    errno.EPERM: "this process may not make a folder or a file there: give a path on a local disk or in /dev/shm",
    errno.EACCES: "this process may not read and write there: give it the permission (group=True makes a store for "
    "the users of a group), open the store with readonly=True if it is only to be read, or give another path",
    errno.ENOSPC: "the file system has no space left: give a path on another one",
    errno.ENOMEM: "its files cannot be mapped, since this process may have no more address space (ulimit -v): give a "
    "smaller maxbytes",
    errno.ENOLCK: "its file system has no locks: give a path on a local disk or in /dev/shm",
}


def explained(exc: Exception, folder: Path) -> Exception:
    """Return the error with the path of the store and the way out, if it is one of those that users meet."""
    if not isinstance(exc, OSError) or isinstance(exc, TimeoutError):
        return exc
    reason = exc.strerror or str(exc)
    explanation = _EXPLANATIONS.get(exc.errno or 0) if reason == os.strerror(exc.errno or 0) else None
    if explanation is None:
        return exc if exc.filename else OSError(exc.errno, reason, str(folder))
    return OSError(exc.errno, f"{reason}: {explanation}", str(folder))


def is_passing(exc: Exception, folder: Path | None) -> bool:
    """Return whether the store could not be opened because somebody has just removed a file, or the folder."""
    passing = isinstance(exc, (ValueError, FileNotFoundError))
    return passing and folder is not None and folder.parent.is_dir()


@contextmanager
def leaving_nothing(path: str | None) -> Iterator[None]:
    """Remove the folders that are made for the store at `path` if it cannot be opened, unless others use them."""
    wanted = [] if path is None else [Path(path), *Path(path).parents]
    missing = [folder for folder in wanted if not os.path.lexists(folder)]
    try:
        yield
    except (OSError, ValueError):
        for folder in missing[:1]:
            remove_if_orphaned(folder)
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return the folder that a user's path means; raise OSError or ValueError, with the way out, if it means none."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"path must be a str or a PathLike, the folder of a store, got {path!r}")
    try:
        return resolve_folder(path)
    except OSError as exc:
        raise explained(exc, Path(os.fsdecode(path))) from None


def place_of(path: Path) -> Path:
    """Return the folder of the store at a path; raise ValueError if there cannot be one."""
    check_not_network(path)
    if path.exists() and not path.is_dir():
        raise ValueError(f"path must be a folder, or where one can be created: {path} is a file")
    place = StoreHeader.place(path)
    if place != path and not place.exists():
        warn_caller(
            f"{path} is the store of another version of bytecache (format {StoreHeader.format_of(path)}, this one's "
            f"is {VERSION}). It is left alone, and this version's store is {place}: each takes up to its maxbytes. "
            "Remove the one that you do not need, or give another path"
        )
    return place


def open_to_group(folder: Path) -> None:
    """Open a folder, created if there is none, and what is in it to its group, as far as this process may."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid not in (os.geteuid(), 0) or folder.stat().st_mode & 0o2070 == 0o2070:
        return  # what is created in a folder that a group may write to is for the group
    folder.chmod(0o2770)  # a folder within, and its files, get the folder's group
    for path in folder.iterdir():
        with suppress(PermissionError):
            path.chmod(0o660 if path.is_file() else 0o2770)


def initialize(folder: Path, maxbytes: int) -> None:
    """Make a run's folder an empty store, whatever a killed run has left in it; raise OSError for anything else."""
    foreign = _foreign(folder, _UNFINISHED)
    if foreign:
        reason = f"it is for this run's store, and contains {foreign[0]!r}: move that away, or give path="
        raise FileExistsError(errno.EEXIST, reason, str(folder))
    for leftover in folder.iterdir():
        leftover.unlink()
    StoreHeader.create(folder, maxbytes)


def restore(folder: Path, maxbytes: int) -> None:
    """Make a folder in use an empty store again, whose header was removed, replaced or cut short.

    Processes that still have the former store open notice it before they next write. The generations that they have
    used, and may use in that moment, do not come again.
    """
    with exclusive(folder / _RESTORING):
        if not StoreHeader.is_ready(folder):
            Segment.remove_all_but_locked(folder, ())
            StoreHeader.create(folder, maxbytes, first_generation=time.time_ns())


def recover(folder: Path, maxbytes: int) -> None:
    """Check the store in a folder and give it this run's budget; make an empty folder a new store.

    A store that is damaged is put into quarantine, with a RuntimeWarning: it is renamed, and no store is left in the
    folder. Raise ValueError for a folder with anything else in it, and OSError for what this
    process may not do.
    """
    present = {name for name in os.listdir(folder) if not _IGNORED.fullmatch(name)}
    if not present:
        StoreHeader.create(folder, maxbytes)
        return
    if StoreHeader.format_of(folder) is None and (foreign := _foreign(folder)):
        raise ValueError(
            f"path must be a new or empty folder, or that of a shared store; {folder} contains {foreign[0]!r}"
        )
    try:
        _adopt(folder, maxbytes)
    except (ValueError, FileNotFoundError, IsADirectoryError) as exc:
        warn_caller(
            f"the shared store {folder} is damaged ({exc}): it was renamed to {_quarantine(folder)}, and a new one is "
            "created"
        )


def _adopt(folder: Path, maxbytes: int) -> None:
    header = StoreHeader(folder)
    locks = ByteRangeLocks(folder / HEAD)
    try:
        locks.acquire(WRITER_BYTE)  # a process that is not attached may clear the store
        _adopt_locked(folder, header, maxbytes)
    finally:
        locks.close()


def _adopt_locked(folder: Path, header: StoreHeader, maxbytes: int) -> None:
    header.check(CounterRows(header).capacity())
    header.set_ready_locked(False)
    for row in header.function_rows():
        used_bytes, inode, generation = 0, 0, header.generation_of(row)
        if header.index_inode(row):  # else the process that added the function was killed
            try:
                segment = Segment(folder, generation)
            except PermissionError:  # another user's: nobody else's values suffer
                continue
            segment.adopt_locked()
            used_bytes, inode = segment.currbytes, segment.index.inode
        header.set_used_bytes_locked(row, used_bytes)
        header.set_index_inode_locked(row, inode)
    Segment.remove_all_but_locked(folder, header.generations())
    header.maxbytes = maxbytes
    header.set_ready_locked(True)


def tidy(folder: Path) -> None:
    """Leave a store as it can be archived and copied: each arena ends where its last value ends, all files are there.

    For the last process that lets go of it; it does nothing if another one is writing, or if that is not possible.
    """
    with suppress(OSError, ValueError):
        header, locks = StoreHeader(folder), ByteRangeLocks(folder / HEAD)
        try:
            if locks.acquire(WRITER_BYTE, wait=False) and header.is_current():
                _tidy_locked(folder, header)
        finally:
            locks.close()


def _tidy_locked(folder: Path, header: StoreHeader) -> None:
    for row in header.function_rows():
        if header.index_inode(row):
            try:
                Segment(folder, header.generation_of(row), header.index_inode(row)).trim_locked()
            except (ValueError, FileNotFoundError, IsADirectoryError):  # a file was removed, replaced or cut short
                header.new_generation_locked(row)
    Segment.remove_all_but_locked(folder, header.generations())


def _quarantine(folder: Path) -> Path:
    """Move a store away and return where to. What an earlier quarantine has left there is removed, if it is a store."""
    number = 1
    while True:
        aside, inside = folder.with_name(f"{folder.name}.aside{number}"), folder / f"aside{number}"
        for earlier in aside, inside:
            if is_store(earlier):
                shutil.rmtree(earlier, ignore_errors=True)
        if not aside.exists() and not inside.exists():
            break
        number += 1
    try:
        return folder.rename(aside)
    except OSError:  # a mount point, or its parent belongs to another user
        inside.mkdir(mode=0o700)
        for path in folder.iterdir():
            if not _IGNORED.fullmatch(path.name):
                path.rename(inside / path.name)
        return inside


def is_store(folder: Path) -> bool:
    """Return whether there is nothing in a folder but what a shared store has there, and something of that."""
    try:
        return not _foreign(folder) and any(not _IGNORED.fullmatch(name) for name in os.listdir(folder))
    except OSError:
        return False


def is_left_by_run(folder: Path) -> bool:
    """Return whether there is nothing in a folder but what a run leaves in its store's; False if it cannot be read."""
    try:
        return not _foreign(folder, _UNFINISHED)
    except OSError:
        return False


def _foreign(folder: Path, ignored: re.Pattern[str] = _IGNORED) -> list[str]:
    """Return the names, in order, of what no shared store has in its folder."""
    return [
        name
        for name in sorted(os.listdir(folder))
        if not ignored.fullmatch(name) and (not _STORE_FILES.fullmatch(name) or (folder / name).is_dir())
    ]
