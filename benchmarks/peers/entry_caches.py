"""Caches for millions of small values behind one interface: the contenders of `benchmarks.scale`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bytecache
from benchmarks.peers.lmdb_cache import Lmdb, hashed

VALUE_BYTES = 64
BUDGET = "16 GiB"  # enough for all entries
TRANSACTION_ENTRIES = 1_000


def key_of(number: int) -> str:
    """Return a path as in a data set."""
    return f"/data/train/{number:08d}.jpg"


def read(path: str) -> bytes:
    """Return a small value that depends on the path, a new object at each call."""
    return path.encode().ljust(VALUE_BYTES)


class Opened(NamedTuple):
    """A cache that is open in this process.

    hit: returns the value of a cached key. store: reads the value of a key that is not cached, and stores it. entries:
    returns their number. fill: stores many values, if that can be faster than one after the other.
    """

    hit: Callable[[str], Any]
    store: Callable[[str], Any]
    entries: Callable[[], int]
    fill: Callable[[Sequence[str]], Any] | None = None


class Contender(NamedTuple):
    """A cache and its limits.

    open: opens it in a folder, with a capacity in entries; it is empty, or has what was stored there. package: what it
    needs. max_entries: the largest size to measure. persistent: whether it outlives its process.
    """

    open: Callable[[Path, int], Opened]
    package: str = "bytecache"
    max_entries: int = 10**9
    persistent: bool = False


def open_dict(folder: Path, entries: int) -> Opened:
    """Return a plain dict, which no cache written in Python can beat."""
    values: dict[str, bytes] = {}

    def store(path: str) -> None:
        values[path] = read(path)

    return Opened(values.__getitem__, store, values.__len__)


def open_decorated(decorate: Callable[[int], Any], folder: Path, entries: int) -> Opened:
    """Return a cache in the memory of this process."""
    function = decorate(entries)(read)
    return Opened(function, function, lambda: function.cache_info().currsize)


def open_shared(folder: Path, entries: int) -> Opened:
    """Return fill_once through a store with a path; `warm` on one thread stores what is not timed."""
    function: Any = bytecache.fill_once(store=bytecache.SharedStore(folder / "store", maxbytes=BUDGET))(read)
    fill = functools.partial(function.warm, threads=1)
    return Opened(function, function, lambda: function.cache_info().currsize, fill)


def open_lmdb(folder: Path, entries: int) -> Opened:
    """Return py-lmdb by itself."""
    lmdb = Lmdb(folder / "lmdb")

    def fill(paths: Sequence[str]) -> None:
        for chunk in _chunks(paths, TRANSACTION_ENTRIES):
            lmdb.put_many((hashed(path), read(path)) for path in chunk)

    return Opened(
        lambda path: lmdb.get(hashed(path)), lambda path: lmdb.put(hashed(path), read(path)), lmdb.__len__, fill
    )


def open_diskcache(folder: Path, entries: int) -> Opened:
    """Return diskcache by itself."""
    import diskcache

    cache = diskcache.Cache(str(folder / "diskcache"), size_limit=2**40)
    return Opened(cache.__getitem__, lambda path: cache.set(path, read(path)), cache.__len__)


def _chunks(items: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _decorated(decorate: Callable[[int], Any]) -> Contender:
    return Contender(functools.partial(open_decorated, decorate))


CONTENDERS = {
    "dict": Contender(open_dict),
    "functools.lru_cache": _decorated(lambda entries: functools.lru_cache(maxsize=entries)),
    "fill_once": _decorated(lambda entries: bytecache.fill_once(maxbytes=BUDGET)),
    "lru_cache": _decorated(lambda entries: bytecache.lru_cache(maxsize=None, maxbytes=BUDGET)),
    "SharedStore": Contender(open_shared, persistent=True),
    "py-lmdb": Contender(open_lmdb, "lmdb", persistent=True),
    "diskcache": Contender(open_diskcache, "diskcache", max_entries=100_000, persistent=True),
}
