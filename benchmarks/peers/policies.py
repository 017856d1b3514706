"""Caches with a limit: simulated policies, bytecache, and the caches that people use today.

A real cache wraps a function that reads an item, a small int, and returns it; each call of that function is a miss. If
a package is not installed, its row says so.
"""

from __future__ import annotations

import functools
import importlib.util
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bytecache
from benchmarks.workloads.traces import Trace

Read = Callable[[Any], Any]
PACKAGES = ("cachetools", "cachebox", "moka-py", "theine", "diskcache", "torch", "numpy")
SIMULATED = {  # row: policy of bytecache.simulate
    "Belady (may refuse)": "belady_bypass",
    "Belady (must keep)": "belady",
    "random (simulated)": "random",
    "FIFO (simulated)": "fifo",
    "no cache": "none",
}
DISKCACHE_ITEMS = 1_000  # it writes files: a tenth of the data, at the same fractions of it
ITEM_BYTES = 8_000  # on disk, if all items are of equal size
VALUE = b"8 bytes."  # in a shared store, whose budget counts values only


@dataclass(frozen=True)
class Limit:
    """The limit of one cache.

    sizes: bytes of each item; None: all are equal, and the limit is in entries. folder: for caches that write files.
    """

    entries: int
    nbytes: int
    sizes: list[int] | None
    folder: Path


@dataclass(frozen=True)
class Contender:
    """A real cache.

    make: returns the function with the cache, given a limit. counts: what its limit is in if sizes differ. shared: one
    cache for several processes. warmed: with the most valuable items, before the first epoch. bounded: whether it has
    a limit at all. max_items: the largest trace to run in acceptable time.
    """

    name: str
    package: str
    make: Callable[[Read, Limit], Read]
    counts: str = "bytes"
    shared: bool = False
    warmed: bool = False
    bounded: bool = True
    max_items: int | None = None

    @property
    def installed(self) -> bool:
        """Whether its package is installed."""
        return importlib.util.find_spec(self.package) is not None

    def suits(self, trace: Trace) -> bool:
        """Return whether it makes sense on the trace: sharing takes several caches, warming a known best order."""
        return (trace.caches > 1 or not self.shared) and (trace.best is not None or not self.warmed)


def simple_cache(function: Read) -> Read:
    """Cache as a recipe of 2018 describes it: keyed by the hash of the first argument, under an RLock, unlimited."""
    lock, values = threading.RLock(), {}

    def call(*args: Any, **kwds: Any) -> Any:
        key = hash(args[0])
        with lock:
            if key not in values:
                values[key] = function(*args, **kwds)
            return values[key]

    return call


def _ours(decorator: Callable[..., Any]) -> Callable[[Read, Limit], Read]:
    def make(read: Read, limit: Limit) -> Read:
        if limit.sizes is None:
            return decorator(limit.entries)(read)
        return decorator(None, maxbytes=limit.nbytes, sizeof=limit.sizes.__getitem__)(read)

    return make


def _fill_once_shared(read: Read, limit: Limit) -> Read:
    """Open the store again at each call, as each process of a job does."""

    def read_bytes(item: int) -> bytes:
        read(item)
        return VALUE

    store = bytecache.SharedStore(limit.folder / "shared", maxbytes=limit.entries * len(VALUE))
    return bytecache.fill_once(store=store, version=1)(read_bytes)


def _cachetools(kind: str) -> Callable[[Read, Limit], Read]:
    def make(read: Read, limit: Limit) -> Read:
        import cachetools

        cache = _never_evict() if kind == "never evict" else getattr(cachetools, kind)
        if limit.sizes is None:
            return cachetools.cached(cache(limit.entries))(read)
        return cachetools.cached(cache(limit.nbytes, getsizeof=limit.sizes.__getitem__))(read)

    return make


def _never_evict() -> Any:
    import cachetools

    class NeverEvict(cachetools.Cache[Any, Any]):
        def popitem(self) -> Any:
            raise ValueError("full")  # which tells `cached` that the value was not stored

    return NeverEvict


def _cachebox(kind: str) -> Callable[[Read, Limit], Read]:
    def make(read: Read, limit: Limit) -> Read:
        import cachebox

        cache, sizes = getattr(cachebox, kind), limit.sizes
        if sizes is None:
            return cachebox.cached(cache(limit.entries))(read)
        return cachebox.cached(cache(limit.nbytes, getsizeof=lambda key, value: sizes[value]))(read)

    return make


def _moka(policy: str) -> Callable[[Read, Limit], Read]:
    """Evict after every miss; moka defers evictions, and a cache over its limit would hit too often."""

    def make(read: Read, limit: Limit) -> Read:
        import moka_py

        sizes = limit.sizes
        if sizes is None:
            cache: Any = moka_py.Moka(limit.entries, policy=policy)
        else:
            cache = moka_py.Moka(limit.nbytes, policy=policy, weigher=lambda key, value: sizes[value])

        def call(item: int) -> int:
            value = cache.get(item)
            if value is None:
                value = read(item)
                cache.set(item, value)
                cache.run_pending_tasks()
            return value

        return call

    return make


def _theine(read: Read, limit: Limit) -> Read:
    import theine

    return theine.Memoize(limit.entries, None)(read)


def _diskcache(read: Read, limit: Limit) -> Read:
    """Keep its defaults: it evicts what was stored first, ten at a time, and its index counts against the limit."""
    import diskcache

    sizes = limit.sizes
    nbytes = limit.entries * ITEM_BYTES if sizes is None else limit.nbytes
    cache = diskcache.Cache(tempfile.mkdtemp(dir=limit.folder), size_limit=nbytes)
    value = bytes(ITEM_BYTES if sizes is None else max(sizes))

    def call(item: int) -> int:
        if cache.get(item) is None:
            read(item)
            cache.set(item, value[:ITEM_BYTES] if sizes is None else value[: sizes[item]])
        return item

    return call


CONTENDERS = (
    Contender("fill_once", "bytecache", _ours(bytecache.fill_once)),
    Contender("fill_once (shared)", "bytecache", _fill_once_shared, shared=True),
    Contender("fill_once (warmed)", "bytecache", _ours(bytecache.fill_once), warmed=True),
    Contender("lru_cache", "bytecache", _ours(bytecache.lru_cache)),
    Contender(
        "functools.lru_cache", "functools", lambda read, limit: functools.lru_cache(limit.entries)(read), "entries"
    ),
    Contender("cachetools LRU", "cachetools", _cachetools("LRUCache")),
    Contender("cachetools LFU", "cachetools", _cachetools("LFUCache")),
    Contender("cachetools RR", "cachetools", _cachetools("RRCache")),
    Contender("cachetools FIFO", "cachetools", _cachetools("FIFOCache")),
    Contender("cachetools (never evicts)", "cachetools", _cachetools("never evict")),
    Contender("cachebox LRU", "cachebox", _cachebox("LRUCache")),
    Contender("cachebox LFU", "cachebox", _cachebox("LFUCache")),
    Contender("cachebox RR", "cachebox", _cachebox("RRCache")),
    Contender("cachebox FIFO", "cachebox", _cachebox("FIFOCache")),
    Contender("moka-py TinyLFU", "moka_py", _moka("tiny_lfu")),
    Contender("moka-py LRU", "moka_py", _moka("lru")),
    Contender("theine", "theine", _theine, "entries"),
    Contender("diskcache", "diskcache", _diskcache, max_items=DISKCACHE_ITEMS),
    Contender(
        "recipe of 2018 (no limit: caches everything)",
        "threading",
        lambda read, limit: simple_cache(read),
        counts="nothing",
        bounded=False,
    ),
)
