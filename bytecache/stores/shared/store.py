"""One store for all processes of a machine: how each process of a run finds and opens it."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...system.byte_sizes import parse_size
from ...system.caller import call_site_name
from ...system.filesystem import check_not_network
from ...system.fork import at_fork
from ..base import Store
from .attachment import Attachment, attach
from .handle import HandleClosed, StoreHandle
from .header import StoreHeader
from .locks import OFD_LOCKS_AVAILABLE
from .partition import SharedPartition
from .recovery import initialize, recover
from .run_folder import attach_run_folder


class SharedStore(Store):
    """A store that all processes of a user on a machine share, for ``fill_once(store=...)``.

    path: a folder on a local disk or in memory; it is kept when the run ends, and the next run that opens it finds the
    values. None: a folder in memory (/dev/shm) that belongs to this run: to this process, to all it starts, by any
    start method, and to all ranks that a launcher such as torchrun has started with it. It is found by the line of
    source that creates the store, and removed when the last process that has used it ends, or by the next run if all
    were killed. maxbytes: the most bytes of values, as for :func:`bytecache.fill_once`; the process that opens the
    store first in a run decides. An entry takes some 60 bytes in addition to its value.

    Several functions may use one store: they share its budget and nothing else. Values are bytes-like, or ndarrays of
    plain dtypes; keys are made of str, bytes, int, float, bool, None, PathLike and tuples. Nothing is pickled.

    What was written is never moved, so a value may be handed out as a view of the store's memory. Values that an
    earlier run wrote are checked against their checksums when a process first reads them; one that fails is read again.
    A folder of another version, or with a damaged index, is renamed and kept, with a RuntimeWarning. After a clear the
    memory is free once the last view of it is gone and each process has made its next call.

    Safe for threads and processes; keeps working in forked children; unpickled, it opens the same store. Linux only.
    Raises OSError for a folder that cannot be created or written to, or if the system lacks the locks it needs;
    ValueError for a folder on a network file system, and for a path at which there is something else.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, maxbytes: int | str) -> None:
        name = "" if path is not None else call_site_name(sys._getframe(1))
        self._init(path, name, maxbytes)

    @classmethod
    def open(cls, path: str | None, name: str, maxbytes: int | str, folder: str | None = None) -> SharedStore:
        """Return the store at `path`; if `path` is None, this run's store `name`, or another run's in `folder`."""
        store = cls.__new__(cls)
        store._init(path, name, maxbytes, folder)
        return store

    def _init(
        self, path: str | os.PathLike[str] | None, name: str, maxbytes: int | str, folder: str | None = None
    ) -> None:
        if not OFD_LOCKS_AVAILABLE:
            raise OSError("a shared store needs open file description locks, which this system lacks: use Linux")
        self._arguments = None if path is None else os.path.abspath(path), name, maxbytes
        self._budget = min(parse_size(maxbytes), sys.maxsize)
        self._partitions: weakref.WeakSet[SharedPartition] = weakref.WeakSet()
        self._handle: StoreHandle | None = None
        self._folder = None if folder is None else Path(folder)  # where it was found, to be opened there again
        self.handle()
        _stores.add(self)

    def handle(self) -> StoreHandle:
        """Return the open files; open them if they were closed, or are those of a forked child's parent."""
        handle = self._handle
        if handle is None:
            with _open_lock:
                handle = self._handle = self._handle or self._open()
        return handle

    def _open(self) -> StoreHandle:
        path, name, _ = self._arguments
        if path is not None:
            check_not_network(Path(path))
            if os.path.exists(path) and not os.path.isdir(path):
                raise ValueError(f"path must be a folder, or where one can be created: {path} is a file")
            attachment = self._attach(Path(path))
        elif self._folder is not None:
            attachment = self._attach(self._folder)
        else:
            attachment = attach_run_folder(name, self._budget, self._attach)
        attachment.remove_when_last = path is None
        try:
            handle = StoreHandle(attachment.folder, attachment)
        except BaseException:
            attachment.detach()
            raise
        weakref.finalize(self, attachment.detach).atexit = False
        self._folder = attachment.folder
        return handle

    def _attach(self, folder: Path) -> Attachment:
        prepare = initialize if self._arguments[0] is None else recover
        return attach(folder, lambda: prepare(folder, self._budget), lambda: StoreHeader.exists(folder))

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
        with _open_lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()
        for partition in list(self._partitions):
            partition.unbind()

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
        return SharedStore.open, (*self._arguments, str(self._folder))


_stores: weakref.WeakSet[SharedStore] = weakref.WeakSet()
# Guards opening and closing, also across a fork: no child inherits locks that it knows nothing of. Re-entrant, for a
# signal handler that uses a store.
_open_lock = threading.RLock()


def _after_fork_in_child() -> None:
    try:
        for store in list(_stores):
            store.after_fork_in_child()
    finally:
        _open_lock.release()


at_fork("stores", before=_open_lock.acquire, after_in_parent=_open_lock.release, after_in_child=_after_fork_in_child)
