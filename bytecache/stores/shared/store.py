"""One store for all processes of a machine: where it lies, and how each process of a run finds and opens it."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...system.byte_sizes import parse_size
from ...system.caller import call_site
from ...system.filesystem import check_not_network
from ...system.fork import at_fork
from .attachment import Attachment, attach
from .handle import Bound, HandleClosed, StoreHandle, User
from .header import StoreHeader
from .locks import AVAILABLE
from .recovery import begin_empty, begin_kept
from .run_folder import attach_run_folder


class SharedStore:
    """A store that all processes of a user on a machine share, for ``fill_once(store=...)``.

    path: a folder on a local disk or in memory, kept when the run ends and found full by the next one that opens it.
    None: a folder in memory (/dev/shm) that is this run's: of this process, of all it starts, whatever the start
    method, and of all ranks that a launcher such as torchrun has started with it. It is found by the place in
    the source where the store is made, removed when the last process that has used it ends, and by the next run if
    all were killed. maxbytes: the most bytes of values, as for :func:`bytecache.fill_once`; the process that opens the
    store first in a run decides. Beside them an entry takes some 60 bytes.

    Several functions may use one store: they share its budget and nothing else. Values are bytes-like, or ndarrays of
    plain dtypes; keys are made of str, bytes, int, float, bool, None, PathLike and tuples. Nothing is pickled.

    What was written stays where it is, so a value may be handed out as a view on the store's memory. Values that an
    earlier run wrote are checked against their checksums when a process first reads them; one that does not fit is
    read anew. A folder of another version, or with a damaged index, is renamed and left, with a RuntimeWarning. After a
    clear the memory is free when the last view of it is gone, and each process has made its next call.

    Safe for threads and processes; goes on in forked children; pickles as what finds the same store again. Linux only.
    Raises OSError for a folder that cannot be made or written to, or where the system has not the locks it takes;
    ValueError for one on a network file system, and for a path at which there is something else.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, maxbytes: int | str) -> None:
        name = "" if path is not None else call_site(sys._getframe(1))
        self._init(path, name, maxbytes)

    @classmethod
    def of_run(cls, name: str, maxbytes: int | str) -> SharedStore:
        """The store of this name in this run."""
        store = cls.__new__(cls)
        store._init(None, name, maxbytes)
        return store

    def _init(self, path: str | os.PathLike[str] | None, name: str, maxbytes: int | str) -> None:
        if not AVAILABLE:
            raise OSError("a shared store needs open file description locks, which this system has not: use Linux")
        self._arguments = None if path is None else os.path.abspath(path), name, maxbytes
        self._budget = min(parse_size(maxbytes), sys.maxsize)
        self.partitions: weakref.WeakSet[User] = weakref.WeakSet()
        self._files: StoreHandle | None = None
        self._folder: Path | None = None  # where it was found, for when it is opened again
        self.files()
        _stores.add(self)

    def files(self) -> StoreHandle:
        """The open files; opens them where they were closed, or inherited by a forked child."""
        files = self._files
        if files is None:
            with _open_lock:
                files = self._files = self._files or self._open()
        return files

    def _open(self) -> StoreHandle:
        path, name, _ = self._arguments
        if path is not None:
            check_not_network(Path(path))
            if os.path.exists(path) and not os.path.isdir(path):
                raise ValueError(f"path must be a folder, or where one can be made: {path} is a file")
            attachment = self._attach(Path(path))
        elif self._folder is not None:
            attachment = self._attach(self._folder)
        else:
            attachment = attach_run_folder(name, self._budget, self._attach)
        attachment.remove_when_last = path is None
        try:
            files = StoreHandle(attachment.folder, attachment)
        except BaseException:
            attachment.detach()
            raise
        weakref.finalize(self, attachment.detach).atexit = False
        self._folder = attachment.folder
        return files

    def _attach(self, folder: Path) -> Attachment:
        begin = begin_empty if self._arguments[0] is None else begin_kept
        return attach(folder, lambda: begin(folder, self._budget), lambda: StoreHeader.exists(folder))

    def bind(self, function: bytes, name: str) -> Bound:
        """This process's share in a function's values; see :meth:`StoreHandle.bind`."""
        while True:
            with suppress(HandleClosed):
                return self.files().bind(function, name)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.files().folder

    @property
    def maxbytes(self) -> int:
        """The most bytes of values, all functions' together."""
        return self.files().maxbytes

    @property
    def currbytes(self) -> int:
        """Bytes of values that are held, all functions' together."""
        return self.files().head.used()

    def clear(self, function: bytes | None = None) -> None:
        """Forgets the values and figures of all functions, or of one; views that were handed out stay valid."""
        while True:
            with suppress(HandleClosed):
                return self.files().clear(function)

    def close(self) -> None:
        """Lets go of the files; the next call of a function that uses the store opens it anew.

        The last process that lets go of a store without a path removes it. This process's figures begin anew.
        """
        with _open_lock:
            files, self._files = self._files, None
        if files is not None:
            files.close()
        for user in list(self.partitions):
            user.unbind()

    def after_fork_in_child(self) -> None:
        """In a forked child: leaves the locks that it shares with its parent to that one."""
        if self._files is not None:
            self._files.after_fork_in_child()
        self._files = None
        for user in list(self.partitions):
            user.forget_other_threads()

    def __repr__(self) -> str:
        return f"SharedStore({str(self.path)!r}, maxbytes={self.maxbytes})"

    def __reduce__(self) -> Any:
        return _rebuild, self._arguments


def _rebuild(path: str | None, name: str, maxbytes: int | str) -> SharedStore:
    store = SharedStore.__new__(SharedStore)
    store._init(path, name, maxbytes)
    return store


_stores: weakref.WeakSet[SharedStore] = weakref.WeakSet()
# Guards opening and closing, also over a fork: no child inherits locks that it knows nothing of. Re-entrant, for a
# signal handler that uses a store.
_open_lock = threading.RLock()


def _after_fork_in_child() -> None:
    try:
        for store in list(_stores):
            store.after_fork_in_child()
    finally:
        _open_lock.release()


at_fork("stores", before=_open_lock.acquire, after_in_parent=_open_lock.release, after_in_child=_after_fork_in_child)
