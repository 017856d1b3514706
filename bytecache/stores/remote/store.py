"""One store for all machines, in a Redis or Valkey server or cluster."""

from __future__ import annotations

import logging
import os
import re
import threading
import weakref
from time import monotonic
from typing import Any

from ...system.byte_sizes import parse_size
from ...system.fork import at_fork
from ..base import Store
from .account import Account
from .connection import PASSWORD_VARIABLE, USER_VARIABLE, Address, check_client, import_redis, name_of
from .partition import RemotePartition
from .record import Namespace, clear_function, records_of, remove_entries
from .server import Unanswered
from .servers import Servers

_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_logger = logging.getLogger("bytecache")


class RemoteStore(Store):
    __doc__ = f"""A store that all processes of all machines share, in Redis 7 or Valkey, for ``fill_once(store=...)``.

    url: ``redis://host:6379``, ``rediss://`` with TLS, ``unix:///path``, and ``valkey://`` and ``valkeys://`` for the
    same; ``redis://user:password@host:6379``, or the environment variables {USER_VARIABLE} and {PASSWORD_VARIABLE} if
    the URL has neither. Any node of a cluster stands for the cluster. What follows a question mark are options of
    redis-py. client: instead of a URL, an object with redis-py's methods, whose own timeouts and retries hold.

    maxbytes: the most bytes of values of the namespace, over all its functions and processes, as for
    :func:`bytecache.fill_once`; all who open it must give the same. None: the server stores until its
    ``maxmemory`` is reached, which is then tried again every 10 s. Either way set the server's ``maxmemory``, and its
    ``maxmemory-policy`` to ``noeviction``: another one makes room for new values by removing those that the next epoch
    needs, and is a RuntimeWarning. An entry takes 24 bytes and its key some 60 in addition to its value, and what the
    server needs for it. timeout_s: seconds after which an answer is no longer waited for. namespace: up to 64 letters,
    digits, dots, dashes and underscores; jobs with the same share what is the same (function, version, arguments), and
    never mix what is not.

    A call never fails because of a server: what is not found there is read from storage, and what cannot be stored
    counts as rejected. A server that has failed three times in a row is not asked for 5 s, then for longer, at most
    300 s; ``logging.getLogger("bytecache")`` is told when that begins and ends, and ``states()`` shows it. An entry
    that is damaged, or is none of ours, is a miss; the next value of its key replaces it.

    Values are those of :class:`bytecache.SharedStore`. Nothing is pickled. Of processes that miss the same key at the
    same time one runs the function, if that takes longer than to ask: the others wait, for 10 s at most if it has died.
    After ``cache_clear`` other processes may for a second find what was stored before. ``scope="all"`` of the counters
    has those of other processes as they were at most a second before their last call; a process that is killed, or ends
    by ``os._exit``, takes what it has counted since then along.

    Safe for threads and processes; a forked child makes connections of its own; unpickled, it opens the same store.
    A pickle has the URL as it was given: keep passwords in the environment if others can read it. Raises ImportError
    without the redis package, and ValueError or TypeError for arguments that are not valid.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        maxbytes: int | str | None = None,
        timeout_s: float = 1.0,
        namespace: str = "bytecache",
        client: Any = None,
    ) -> None:
        if (url is None) == (client is None):
            raise TypeError('RemoteStore needs one of url, such as "redis://host:6379", and client')
        if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or not 0 < timeout_s < float("inf"):
            raise ValueError(f"timeout_s must be a number of seconds above zero, got {timeout_s!r}")
        if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
            raise ValueError(
                f"namespace must be 1 to 64 letters, digits, dots, dashes and underscores, got {namespace!r}"
            )
        self._arguments = url, maxbytes, timeout_s, namespace, client
        self._maxbytes = None if maxbytes is None else parse_size(maxbytes)
        self._timeout_s, self._client, self._clock = timeout_s, client, monotonic
        import_redis()
        if url is None:
            check_client(client)
        self._address = None if url is None else Address(url)
        if self._address is not None:
            self._address.connect(timeout_s)  # raises for options that are unknown
        self.namespace = Namespace(namespace)
        self._open_lock = threading.RLock()  # for one thread at a time that opens or closes
        self._servers: Servers | None = None
        self._total_bytes = 0
        self._told: set[str] = set()
        self._partitions: weakref.WeakSet[RemotePartition] = weakref.WeakSet()
        self._left: list[Account] = []  # of partitions that are gone, which may have more to tell
        _stores.add(self)

    def servers(self) -> Servers:
        """Return the servers, by connections of this process."""
        servers = self._servers
        if servers is None:
            with self._open_lock:
                servers = self._servers
                if servers is None:
                    servers = self._servers = self._open()
                    _flush_at_exit()
        return servers

    def _open(self) -> Servers:
        if self._address is None:
            return Servers(self._client, name_of(self._client), self._clock)
        return Servers(self._address.connect(self._timeout_s), self._address.name, self._clock, is_own=True)

    def partition(self, function_id: bytes, name: str, maxsize: int | None = None) -> RemotePartition:
        """Return the partition of one function, by the 16 bytes that stand for it. name: for people."""
        partition = RemotePartition(self, function_id, name, maxsize)
        self._partitions.add(partition)
        weakref.finalize(partition, self._left.append, partition.account).atexit = False
        return partition

    @property
    def maxbytes(self) -> int | None:
        """The most bytes of values, of all functions together; None if the server decides."""
        return self._maxbytes

    @property
    def currbytes(self) -> int:
        """The bytes that the values of all functions take; as last known, if the server does not answer."""
        total = self.namespace.total
        try:
            self._total_bytes = int(self.servers().ask(total, lambda client: client.hget(total, "bytes")) or 0)
        except Unanswered as exc:
            self.log_unanswered("the bytes that are stored are not known", exc)
        return self._total_bytes

    @property
    def shown_url(self) -> str:
        """The URL without user, password and options; empty for a store that was given a client."""
        return "" if self._address is None else self._address.shown

    def states(self) -> dict[str, str]:
        """Return for each server, by host and port, whether it is asked: "closed" if so, "open", or "half-open"."""
        return {server.name: server.breaker.state for server in self.servers().known()}

    def is_full(self, nbytes: float) -> bool:
        """Return whether there is no room for so many bytes, as far as is known without a request."""
        if self._maxbytes is not None and self._total_bytes + nbytes > self._maxbytes:
            return True
        return self.servers().is_full()

    def note_total(self, nbytes: int) -> None:
        """Take note of what the values of all functions take."""
        self._total_bytes = nbytes

    def log_unanswered(self, what: str, exc: Exception) -> None:
        """Log once what could not be done because a server refused it; that one does not answer its breaker logs."""
        if getattr(exc, "refused", True) and what not in self._told:
            self._told.add(what)
            _logger.warning("%s: %s (%s)", self, what, exc)

    def clear(self, function_id: bytes | None = None) -> None:
        """Remove the values and counters of one function, or of all in the namespace, for all processes.

        Takes time in proportion to all keys of the servers. Raises ConnectionError if one of them does not answer: its
        values are removed at the next clear, and are not found if the first server did.
        """
        try:
            if function_id is not None:
                clear_function(self.servers(), self.namespace, function_id)
            else:
                self._clear_all()
        except Unanswered as exc:
            raise ConnectionError(f"{self} could not be cleared: {exc}: try again once it answers") from None
        finally:
            for partition in list(self._partitions):
                partition.account.unbind()

    def _clear_all(self) -> None:
        servers, total = self.servers(), self.namespace.total
        for record in records_of(servers, self.namespace):
            clear_function(servers, self.namespace, self.namespace.function_id(record))
        servers.ask(total, lambda client: client.delete(total))
        remove_entries(servers, self.namespace.entries())

    def flush(self) -> None:
        """Send what was counted in this process, if anything was since the last time."""
        for account in [partition.account for partition in list(self._partitions)] + self._left:
            account.flush()
        with self._open_lock:
            for account in [account for account in self._left if not account.has_unsent]:
                self._left.remove(account)

    def close(self) -> None:
        """Send what was counted, and close the connections of this process; a later call opens others."""
        if self._servers is None:
            return
        self.flush()
        with self._open_lock:
            servers, self._servers = self._servers, None
        if servers is not None:
            servers.close(with_first=self._client is None)

    def after_fork_in_child(self) -> None:
        """Leave the connections that a forked child shares with its parent to the parent."""
        _of_parents.append(self._servers)
        self._servers, self._open_lock = None, threading.RLock()
        self._left.clear()
        for partition in list(self._partitions):
            partition.after_fork_in_child()

    def __repr__(self) -> str:
        url = f"{self.shown_url!r}, " if self.shown_url else ""
        return f"RemoteStore({url}maxbytes={self._maxbytes}, namespace={self.namespace.name!r})"

    def __reduce__(self) -> Any:
        return _open_store, self._arguments


def _open_store(
    url: str | None, maxbytes: int | str | None, timeout_s: float, namespace: str, client: Any
) -> RemoteStore:
    return RemoteStore(url, maxbytes=maxbytes, timeout_s=timeout_s, namespace=namespace, client=client)


_stores: weakref.WeakSet[RemoteStore] = weakref.WeakSet()
# Of a forked child: its parent's connections are not even closed here, since another thread may have had their locks.
_of_parents: list[Any] = []


_flushing: set[int] = set()  # the process that will send at its end what was counted


def _flush_at_exit() -> None:
    """Send what was counted when this process ends, also if multiprocessing has started it, which calls no atexit."""
    from multiprocessing.util import Finalize

    if os.getpid() not in _flushing:
        _flushing.clear()
        _flushing.add(os.getpid())
        Finalize(None, _flush, exitpriority=0)


def _flush() -> None:
    for store in list(_stores):
        store.flush()


def _after_fork_in_child() -> None:
    for store in list(_stores):
        store.after_fork_in_child()


at_fork("remote stores", after_in_child=_after_fork_in_child)
