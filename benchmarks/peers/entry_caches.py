"""Caches of very many small values, each with the same few verbs: what `benchmarks.scale` puts beside each other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bytecache
from benchmarks.peers.lmdb_cache import Lmdb, hashed
from bytecache.stores.codec import encode

VALUE_BYTES = 64
BUDGET = "16 GiB"  # room for everything
IN_ONE_TRANSACTION = 1_000


class ManyInLmdb(Lmdb):
    """py-lmdb, which can also put many at once."""

    def put_many(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        with self._env.begin(write=True) as transaction:
            transaction.cursor().putmulti(items)

    def count(self) -> int:
        return self._env.stat()["entries"]  # type: ignore[no-any-return]


def key_of(number: int) -> str:
    """A path such as a data set has."""
    return f"/data/train/{number:08d}.jpg"


def read(path: str) -> bytes:
    """A small value of this path's own, made anew at each call."""
    return path.encode().ljust(VALUE_BYTES)


class Opened(NamedTuple):
    """A cache in this process.

    hit: gives the value of a key that is held. store: reads the value of one that is not, and keeps it. count: how
    many are held. fill: stores many, where there is a faster way than one after the other.
    """

    hit: Callable[[str], Any]
    store: Callable[[str], Any]
    count: Callable[[], int]
    fill: Callable[[Sequence[str]], None] | None = None


class Contender(NamedTuple):
    """open: the cache in a folder, with room for so many entries, empty or as it was left there.

    package: what it needs. most: entries up to which it is measured. kept: whether it outlives its process.
    """

    open: Callable[[Path, int], Opened]
    package: str = "bytecache"
    most: int = 10**9
    kept: bool = False


def open_dict(folder: Path, entries: int) -> Opened:
    """What no cache written in Python can beat."""
    values: dict[str, bytes] = {}

    def store(path: str) -> None:
        values[path] = read(path)

    return Opened(values.__getitem__, store, values.__len__)


def open_decorated(decorate: Callable[[int], Any], folder: Path, entries: int) -> Opened:
    """A cache in this process's memory."""
    function = decorate(entries)(read)
    return Opened(function, function, lambda: function.cache_info().currsize)


def open_shared(folder: Path, entries: int) -> Opened:
    """fill_once through a store with a path."""
    function: Any = bytecache.fill_once(store=bytecache.SharedStore(folder / "store", maxbytes=BUDGET))(read)

    def fill(paths: Sequence[str]) -> None:
        # The library has no way to store many at once: this is what a miss ends in, in one turn of writing for all.
        function(paths[0])
        bound = function._cache._bound
        put, section, digest_of = bound.files._put_locked, bound.section, function._digest_of

        def put_all() -> None:
            for path in paths[1:]:
                put(bound, section, digest_of((path,), {}), encode(read(path)), None)

        bound.files.alone(put_all)

    return Opened(function, function, lambda: function.cache_info().currsize, fill)


def open_lmdb(folder: Path, entries: int) -> Opened:
    """py-lmdb by itself, a transaction for each get and each put."""
    lmdb = ManyInLmdb(folder / "lmdb")

    def fill(paths: Sequence[str]) -> None:
        for some in _parts(paths, IN_ONE_TRANSACTION):
            lmdb.put_many((hashed(path), read(path)) for path in some)

    return Opened(
        lambda path: lmdb.get(hashed(path)), lambda path: lmdb.put(hashed(path), read(path)), lmdb.count, fill
    )


def open_diskcache(folder: Path, entries: int) -> Opened:
    """diskcache by itself."""
    import diskcache

    cache = diskcache.Cache(str(folder / "diskcache"), size_limit=2**40)
    return Opened(cache.__getitem__, lambda path: cache.set(path, read(path)), cache.__len__)


def _parts(items: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _decorated(decorate: Callable[[int], Any]) -> Contender:
    return Contender(functools.partial(open_decorated, decorate))


CONTENDERS = {
    "dict": Contender(open_dict),
    "functools.lru_cache": _decorated(lambda entries: functools.lru_cache(maxsize=entries)),
    "fill_once": _decorated(lambda entries: bytecache.fill_once(maxbytes=BUDGET)),
    "lru_cache": _decorated(lambda entries: bytecache.lru_cache(maxsize=None, maxbytes=BUDGET)),
    "SharedStore": Contender(open_shared, kept=True),
    "py-lmdb": Contender(open_lmdb, "lmdb", kept=True),
    "diskcache": Contender(open_diskcache, "diskcache", most=100_000, kept=True),
}
