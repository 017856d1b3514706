"""The private names that the tests of calls, flights and leases need, in one place that changes with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bytecache import SharedStore
from bytecache.cache import wrapping
from bytecache.cache.flights import flight, leased_flight
from bytecache.stores.memory import LRUPartition
from bytecache.stores.shared.handle import StoreHandle
from bytecache.stores.shared.locks import WRITER_BYTE, ByteRangeLocks
from bytecache.stores.shared.segments.segment import Segment

# Modules that run when a key is missed, and those that change a store's files.
MISS_PATH_MODULES = {
    *(f"bytecache.stores.{name}" for name in ("memory", "lru", "counters")),
    *(f"bytecache.cache.{name}" for name in ("read_through", "flights.singleflight", "flights.leased_flight")),
    "bytecache.cache.flights.batch",
    "bytecache.cache.flights.flight",
}
SHARED_MISS_PATH_MODULES = {
    *(f"bytecache.cache.{name}" for name in ("read_through", "flights.singleflight", "flights.leased_flight")),
    "bytecache.cache.flights.batch",
    "bytecache.cache.flights.flight",
    *(
        f"bytecache.stores.shared.{name}"
        for name in ("segments.index", "locks", "segments.segment", "handle", "partition", "counters", "writing")
    ),
}
STORE_WRITE_MODULES = {
    f"bytecache.stores.shared.{name}"
    for name in ("segments.segment", "segments.index", "handle", "header", "counters", "partition", "writing")
}

# Cached functions


def check_function(function: Any) -> None:
    """Raise what the decorators raise for what they do not decorate."""
    wrapping.check_function(function)


def cache_of(cached: Any) -> Any:
    """Return the cache behind a cached function, whatever keeps its values."""
    owner = cached.cache_info.__self__
    return getattr(owner, "_cache", owner)  # a method of the cache itself, or of a function over a shared store


def store_of(cached: Any) -> SharedStore:
    """Return the store of a function over a shared store."""
    return cache_of(cached).partition._store


def digest_of(cached: Any, *args: Any, **kwds: Any) -> bytes:
    """Return the digest that stands for these arguments in a shared store."""
    return cached._digest_of(args, kwds)


def evicts(cached: Any) -> bool:
    """Return whether a cache in memory is lru_cache's."""
    return isinstance(cache_of(cached).partition, LRUPartition)


@contextmanager
def all_locks(cached: Any) -> Iterator[None]:
    """Hold the lock that guards a cache in memory."""
    with cache_of(cached).partition.lock:
        yield


def forget_when_it_looked(cached: Any) -> None:
    """Have the next call of a function over tiers ask whether the lowest was cleared, without waiting a second."""
    cache_of(cached).partition._clears.next_s = 0.0


# Flights and leases


def flights_of(cached: Any) -> dict[Any, Any]:
    """Return the flights of a cached function, by key."""
    return {key: flight for (_, key), flight in cache_of(cached).flights._flights.items()}


def running_flights(cached: Any) -> list[Any]:
    """Return the flights whose leader has not landed: a call that joins one waits."""
    return [flight for flight in flights_of(cached).values() if flight.running.locked()]


def patience_of(cached: Any) -> Any:
    """Return what says how long the calls of a cached function wait before they warn."""
    return cache_of(cached).flights._patience


def waiting_threads() -> set[int]:
    """Return the identifiers of the threads that wait for another thread's flight."""
    return set(flight._waiting_on)


def leasing_threads() -> set[int]:
    """Return the identifiers of the threads that other processes may be waiting for."""
    return {thread for thread, calls in leased_flight._leases_of_thread.copy().items() if calls}


def assert_at_rest(cached: Any) -> None:
    """Fail if a flight is left, or a thread that waits for one."""
    assert flights_of(cached) == {}
    assert waiting_threads() == set()


# Files of a shared store


def handle_of(store: SharedStore) -> StoreHandle:
    """Return the open files of a store, opened if they are not."""
    return store.handle()


def locked_bytes(store: SharedStore, *, writer: bool = False) -> list[int]:
    """Return the bytes of a store's lock file that any process has locked, without the writer's unless asked for."""
    inode = os.stat(store.path / "head").st_ino
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    locks = [fields for fields in lines if "->" not in fields and fields[5].rpartition(":")[2] == str(inode)]
    return sorted(int(fields[6]) for fields in locks if writer or fields[6] != "0")


def assert_sound(store: SharedStore) -> None:
    """Fail if the writer's lock is taken, an entry does not fit its checksum, or the budget is exceeded."""
    locks = ByteRangeLocks(store.path / "head")
    try:
        assert locks.acquire(WRITER_BYTE, wait=False), "the writer's lock is taken"
    finally:
        locks.close()
    header = store.handle().header
    for row in header.function_rows():
        if header.index_inode(row):
            segment = Segment(store.path, header.generation_of(row))
            alive = [number for number in range(1, segment.index.count + 1) if not segment.index.is_dead(number)]
            entries = [segment.index.entry(number) for number in alive]
            assert all(segment.verify(entry) and entry.digest in segment for entry in entries)
    assert header.used_bytes <= store.maxbytes
