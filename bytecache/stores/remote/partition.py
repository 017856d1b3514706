"""The values of one function in a remote store, as one process sees them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ...system.fork import lock_of_child
from ..base import MISSING, Partition, PutResult, Snapshot, put_alone
from .account import Account
from .counters import RemoteCounters
from .frame import read_frames
from .lease import LEASE_S, LeaseBatch, RemoteLease
from .server import Unanswered
from .writing import Writer

if TYPE_CHECKING:
    from .store import RemoteStore

_MEASURED = 8  # runs of the function, after which it is known how long one takes
_WORTH_A_LEASE = 4  # times what a request takes: a lease takes two requests, and who waits for one some more
_LEASE_SUFFIX = b":lease"
_REMOVE = """local size = redis.call('STRLEN', KEYS[1])
return {redis.call('UNLINK', KEYS[1]), size}
"""


class RemotePartition(Partition):
    """The values of one function under 16-byte digests; safe for threads and processes.

    Which generation of values is valid is asked once a second, and at each put. So for a second after another process
    has called ``cache_clear``, a value may be found that was stored before, if it has not been removed yet.
    """

    has_leases, locked_before_fork = True, False

    def __init__(self, store: RemoteStore, function_id: bytes, name: str, maxsize: int | None) -> None:
        self.maxsize, self._store, self._function_id = maxsize, store, function_id
        self.lock = threading.RLock()  # for the cache: guards its flights
        self.account = Account(store, function_id, name)
        self.damaged = 0  # how many entries were found that were none of ours, in this process
        self.writer = Writer(self, store)

    @property
    def maxbytes(self) -> int | None:
        return self._store.maxbytes

    @property
    def currbytes(self) -> int:
        self.account.sync()
        return self.account.last.nbytes

    @property
    def counters(self) -> RemoteCounters:
        self.account.bound()
        return self.account.counters

    @property
    def generation(self) -> int:
        return self.account.bound().generation

    @property
    def cleared(self) -> int | None:
        generation, last = self.generation, self.account.last
        return (last.generation if last.cleared else 0) if generation else None

    def __len__(self) -> int:
        self.account.sync()
        return self.account.last.entries

    def __contains__(self, key: bytes) -> bool:
        binding = self.account.bound()
        name = binding.prefix + key
        try:
            return bool(binding.generation and self._store.servers().ask(name, lambda client: client.exists(name)))
        except Unanswered:
            return False

    @property
    def full(self) -> bool:
        self.account.bound()
        entries, nbytes = self.account.last.entries, self.account.last.nbytes
        mean = nbytes / entries if entries else 0
        at_most = self.maxsize is not None and entries >= self.maxsize
        return at_most or self._store.is_full(mean)

    def get(self, key: bytes, copy: bool = True) -> Any:
        (value,) = self.get_many((key,), copy)
        return value

    def get_many(self, keys: Sequence[bytes], copy: bool = True) -> list[Any]:
        """Return what :meth:`get` returns for each key, in order, from one request for each server."""
        prefix, damaged = self.account.bound().prefix, list[bytes]()
        if not prefix or not keys:
            return [MISSING] * len(keys)
        started = perf_counter()
        values = self._store.servers().get_many([prefix + key for key in keys], partial(read_frames, damaged=damaged))
        if damaged:
            damaged = list(dict.fromkeys(damaged))  # an answer that ends in an error is asked for again
            self.writer.note_damaged(damaged)
            self.damaged += len(damaged)
        hits = len(values) - sum([value is MISSING for value in values])
        counters = self.account.counters
        if hits:
            counters.hit(hits)
        counters.lookup(perf_counter() - started)
        return values

    def put(self, key: bytes, value: Any, generation: int) -> PutResult:
        return put_alone(self, key, value, generation)

    def put_many(self, items: Iterable[tuple[bytes, Any]], generation: int) -> list[PutResult | Exception]:
        """Store several (key, value), in order, in a request or two for each server; see Partition."""
        return self.writer.put_all(items, generation)

    def discard(self, key: bytes) -> bool:
        """Remove a value; False, and a warning in the log, if its server does not answer. See Partition."""
        binding = self.account.bound()
        if not binding.generation:
            return False
        name = binding.prefix + key
        try:
            removed, size = self._store.servers().ask(name, lambda client: client.eval(_REMOVE, 1, name))
        except Unanswered as exc:
            self._store.log_unanswered("a value could not be discarded", exc)
            return False
        if removed:
            with self.account.counters.lock:
                self.account.counters.evicted += 1
            self.writer.note_removed(binding.generation, size)
        return bool(removed)

    def lease(self, key: bytes, generation: int) -> RemoteLease | None:
        return self.leases([key], generation)[key]

    def leases(self, keys: Sequence[bytes], generation: int) -> dict[bytes, RemoteLease | None]:
        """Return the lease of each key, acquired and released together; None for all if that would not pay.

        That is if the partition is full, or if a run of the function takes hardly longer than a request.
        """
        prefix = self.account.bound().prefix
        counts = self.account.counters.state().counts
        mean_s = counts.load_s / counts.misses if counts.misses >= _MEASURED else LEASE_S
        servers = self._store.servers()
        if not prefix or self.full or mean_s < _WORTH_A_LEASE * servers.request_s:
            return dict.fromkeys(keys)
        names = {key: prefix + key + _LEASE_SUFFIX for key in keys}
        batch = LeaseBatch(servers, list(names.values()), max(LEASE_S, LEASE_S * mean_s / 2))
        return {key: RemoteLease(batch, name) for key, name in names.items()}

    def snapshot(self, scope: str) -> Snapshot:
        """Return counts, entries and bytes; those of the server are the last known if it does not answer."""
        self.account.sync()
        counters = self.account.counters
        counts = counters.of_all() if scope == "all" else counters.state().counts
        return Snapshot(counts, self.account.last.entries, self.account.last.nbytes)

    def servers(self) -> dict[str, str]:
        return self._store.states()

    def clear(self) -> None:
        """Remove all values and counters of the function; raise ConnectionError if a server does not answer."""
        self._store.clear(self._function_id)

    def why_nothing_fits(self) -> str:
        if self.maxbytes is None or not self.account.is_known:
            return ""  # what the server says was logged
        return (
            f"no value fits in what is left of the namespace's {self.maxbytes} bytes: raise maxbytes, or clear what "
            "other functions, and earlier versions of this one, have stored"
        )

    def after_fork_in_child(self) -> None:
        """Drop what a forked child shares with its parent, and locks that other threads may have had."""
        self.lock = lock_of_child(self.lock)
        self.account.after_fork_in_child()
        self.writer.after_fork_in_child()
