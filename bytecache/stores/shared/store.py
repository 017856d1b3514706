"""One store for all processes of a machine: how each process of a run finds and opens it."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import threading
import weakref
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ...system.byte_sizes import parse_size
from ...system.caller import call_site_name, warn_caller
from ...system.collection import no_collection
from ...system.filesystem import resolve_folder
from ...system.fork import at_fork
from ..base import Store
from .attachment import Attachment, after_fork_in_child, attach, detach_on_signals
from .handle import HandleClosed, StoreHandle
from .header import StoreHeader
from .locks import OFD_LOCKS_AVAILABLE
from .partition import SharedPartition
from .recovery import explained, initialize, open_to_group, place_of, recover, restore, tidy
from .run_folder import attach_run_folder

_OPEN_ATTEMPTS = 10  # while a cleaner of files is at work


class SharedStore(Store):
    """A store that all processes of a user on a machine share, for ``fill_once(store=...)``.

    path: a folder on a local disk or in memory; it is kept when the run ends, and the next run that opens it finds the
    values. None: a folder in memory (/dev/shm) that belongs to this run: to this process, to all it starts, by any
    start method, and to all ranks that a launcher such as torchrun has started with it. It is found by the line of
    source that creates the store, and removed when the last process that has used it ends, or by the next run if all
    were killed. maxbytes: the most bytes of values, as for :func:`bytecache.fill_once`; the process that opens the
    store first in a run decides. An entry takes some 60 bytes in addition to its value. group: all users of the
    folder's group may use the store at `path`. readonly: use the values at `path` and store nothing, for another user's
    store, or one in an image; on a read-only file system that is so without it, with a RuntimeWarning.

    Several functions may use one store: they share its budget and nothing else. Values are bytes-like, or ndarrays of
    plain dtypes; keys are made of str, bytes, int, float, bool, None, PathLike and tuples. Nothing is pickled.

    What was written is never moved, so a value may be handed out as a view of the store's memory. Values that an
    earlier run wrote are checked against their checksums when a process first reads them; one that fails is read again.
    A folder with a damaged index is renamed and kept, with a RuntimeWarning; next to the store of another version of
    bytecache this one makes its own. After a clear the memory is free once the last view of it is gone and each process
    has made its next call. If a file of the store is removed or replaced while it is in use, values are lost, with a
    RuntimeWarning, but no value is wrong; a file that is cut short ends the processes that have mapped it, by SIGBUS.

    Safe for threads and processes; keeps working in forked children; unpickled, it opens the same store. Linux only.
    Raises OSError for a folder that cannot be created or written to, or if the system lacks the locks it needs;
    ValueError for a folder on a network file system, and for a path at which there is something else.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        maxbytes: int | str | None = None,
        group: bool = False,
        readonly: bool = False,
    ) -> None:
        name = "" if path is not None else call_site_name(sys._getframe(1))
        if maxbytes is None and not readonly:
            raise TypeError('maxbytes, the most bytes of values, must be given: an int, or a size such as "2 GiB"')
        if path is None and (group or readonly):
            raise TypeError("group and readonly are for a store that is kept: give its path")
        mode = "readonly" if readonly else "group" * group
        self._init(path, name, 1 if maxbytes is None else maxbytes, None, mode)

    @classmethod
    def open(
        cls, path: str | None, name: str, maxbytes: int | str, folder: str | None = None, mode: str = ""
    ) -> SharedStore:
        """Return the store at `path`, in mode "", "group" or "readonly"; else this run's `name`, or one in `folder`."""
        store = cls.__new__(cls)
        store._init(path, name, maxbytes, folder, mode)
        return store

    def _init(
        self, path: str | os.PathLike[str] | None, name: str, maxbytes: int | str, folder: str | None, mode: str
    ) -> None:
        if not OFD_LOCKS_AVAILABLE:
            raise OSError("a shared store needs open file description locks, which this system lacks: use Linux")
        try:
            self._arguments = None if path is None else str(resolve_folder(path)), name, maxbytes
        except OSError as exc:
            raise explained(exc, Path(os.fsdecode(path or ""))) from None
        self._mode = mode
        self._budget = min(parse_size(maxbytes), sys.maxsize)
        self._partitions: weakref.WeakSet[SharedPartition] = weakref.WeakSet()
        self._handle: StoreHandle | None = None
        self._folder = None if folder is None else Path(folder)  # where it was found, to be opened there again
        self.handle()
        _stores.add(self)

    def handle(self) -> StoreHandle:
        """Return the open files; open them if they were closed, or are those of a forked child's parent."""
        handle = self._handle
        if handle is None or handle.lost:
            with no_collection, _open_lock:
                handle = self._handle
                if handle is None:
                    handle = self._handle = self._open()
                elif handle.lost:
                    handle = self._replace_locked(handle)
        return handle

    def _replace_locked(self, lost: StoreHandle) -> StoreHandle:
        """Open the store again whose files were removed or replaced, where the other processes open it too."""
        found = "was removed, or a file in it was removed or replaced, as by a cleaner of temporary files or by logind"
        try:
            handle = self._handle = self._open()
        except (OSError, ValueError) as exc:
            lost.go_on_alone()
            warn_caller(f"{lost.folder} {found}, and cannot be made again: no process sees what another stores ({exc})")
            return lost
        for partition in list(self._partitions):
            partition.unbind()
        lost.close()
        warn_caller(f"{lost.folder} {found}: it begins anew, and its values are read again")
        return handle

    def _open(self) -> StoreHandle:
        path, name, _ = self._arguments
        for attempt in range(_OPEN_ATTEMPTS):
            folder, is_new = self._folder, False
            try:
                if path is not None:
                    folder = place_of(Path(path))
                    is_new = not folder.exists()
                if self._mode == "readonly" and folder is not None:
                    return StoreHandle(folder, readonly=True)
                attachment = self._attach_to(folder)
                handle = self._open_files(attachment)
                break
            except (ValueError, FileNotFoundError):  # somebody has removed a file in the meantime
                if attempt == _OPEN_ATTEMPTS - 1 or folder is None or not folder.parent.is_dir():
                    raise
            except OSError as exc:
                if exc.errno == errno.EROFS and folder is not None and StoreHeader.is_readable(folder):
                    warn_caller(f"{folder} is on a read-only file system: its values are used, and nothing is stored")
                    self._mode = "readonly"
                    continue
                if is_new and exc.errno == errno.ENODEV:
                    shutil.rmtree(folder or "", ignore_errors=True)
                raise explained(exc, folder or Path(path or name)) from None
        weakref.finalize(self, attachment.detach).atexit = False
        self._folder = attachment.folder
        return handle

    def _attach_to(self, folder: Path | None) -> Attachment:
        if folder is not None:
            if self._mode == "group":
                open_to_group(folder)
            return self._attach(folder)
        return attach_run_folder(self._arguments[1], self._budget, self._attach)

    def _open_files(self, attachment: Attachment) -> StoreHandle:
        attachment.remove_when_last, attachment.tidy_when_last = self._arguments[0] is None, tidy
        if attachment.remove_when_last:
            detach_on_signals()
        try:
            return StoreHandle(attachment.folder, attachment)
        except BaseException:
            attachment.detach()
            raise

    def _attach(self, folder: Path) -> Attachment:
        prepare = initialize if self._arguments[0] is None else recover
        arguments = folder, self._budget
        is_ready = partial(StoreHeader.is_ready, folder)
        return attach(folder, partial(prepare, *arguments), is_ready, partial(restore, *arguments))

    def partition(self, function_id: bytes, name: str, maxsize: int | None = None) -> SharedPartition:
        """Return the partition of one function, by the 16 bytes that stand for it. name: for people."""
        partition = SharedPartition(self, function_id, name, maxsize)
        self._partitions.add(partition)
        return partition

    @property
    def path(self) -> Path:
        """The folder."""
        return self.handle().folder

    @property
    def maxbytes(self) -> int:
        """The most bytes of values, of all functions together."""
        return self.handle().header.maxbytes

    @property
    def currbytes(self) -> int:
        """The bytes that the values of all functions take."""
        return self.handle().header.used_bytes

    def clear(self, function_id: bytes | None = None) -> None:
        """Remove the values and counters of all functions, or of one; views that were handed out stay valid."""
        while True:
            with suppress(HandleClosed):
                return self.handle().clear(function_id)

    def close(self) -> None:
        """Close the files; the next call of a function that uses the store opens it again.

        The last process to close a store without a path removes it. This process's counters start from zero.
        """
        with no_collection, _open_lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()
        for partition in list(self._partitions):
            partition.unbind()

    def before_fork(self) -> None:
        """Open the store again if its files are gone: the child finds it, and this process keeps it after the child."""
        if self._handle is not None and self._handle.notice_loss():
            self.handle()

    def after_fork_in_child(self) -> None:
        """Leave the locks that a forked child shares with its parent to the parent."""
        if self._handle is not None:
            self._handle.after_fork_in_child()
        self._handle = None
        for partition in list(self._partitions):
            partition.after_fork_in_child()

    def __repr__(self) -> str:
        return f"SharedStore({str(self.path)!r}, maxbytes={self.maxbytes})"

    def __reduce__(self) -> Any:
        return SharedStore.open, (*self._arguments, str(self._folder), self._mode)


_stores: weakref.WeakSet[SharedStore] = weakref.WeakSet()
# Guards opening and closing, also across a fork: no child inherits locks that it knows nothing of. Re-entrant, for a
# signal handler that uses a store.
_open_lock = threading.RLock()


def _before_fork() -> None:
    _open_lock.acquire()
    for store in list(_stores):
        store.before_fork()


def _after_fork_in_child() -> None:
    try:
        after_fork_in_child()
        for store in list(_stores):
            store.after_fork_in_child()
    finally:
        _open_lock.release()


at_fork("stores", before=_before_fork, after_in_parent=_open_lock.release, after_in_child=_after_fork_in_child)
