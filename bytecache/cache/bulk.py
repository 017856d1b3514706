"""Many keys at once: ``map`` and ``warm`` of a cached function."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice
from operator import length_hint
from typing import Any

from ..stores.base import MISSING
from ..stores.structures import copy_containers
from ..system.arguments import check_int, check_threads
from ..system.caller import warn_caller
from ..system.progress import progress_bar
from ..system.threads import cpu_count, run_on_threads
from .flights.batch import read_batch
from .read_through import ReadThrough
from .stats import CacheStats

READ_THREADS = min(32, cpu_count() + 4)  # reading waits more than it computes
_BATCH_SIZE, _BATCH_THREADS = 64, 2  # of warm, for batched functions


class BulkReader:
    """``map`` and ``warm`` for one cached function of one argument.

    key_of: from the argument to the key of the cache. miss: answers a call that was not found, like ReadThrough.miss.
    bound: what the function gets before the argument: a method's instance. views: whether the values are the store's,
    so that each caller gets containers of its own, and bytes come as views with ``copy=False``.
    """

    __slots__ = ("_bound", "_cache", "_key_of", "_miss", "_views")

    def __init__(
        self,
        cache: ReadThrough,
        key_of: Callable[[Any], Hashable],
        miss: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any],
        *,
        bound: tuple[Any, ...] = (),
        views: bool = False,
    ) -> None:
        self._cache, self._key_of, self._miss, self._bound, self._views = cache, key_of, miss, bound, views

    def map(
        self,
        keys: Iterable[Any],
        threads: int | None = None,
        *,
        return_exceptions: bool = False,
        copy: bool = True,
    ) -> list[Any]:
        """Return ``function(key)`` for each of `keys`, in order.

        Misses are read on `threads` threads at a time (default: processors + 4, at most 32); a batched function is
        called once, with all that no other call is reading. A key that comes twice is read once and counts as a hit the
        second time. The first exception, in the order of `keys`, is raised with the key in a note (``__notes__``;
        tracebacks show it from Python 3.11), after the reads that were started have ended; with `return_exceptions`
        every exception is in its key's position instead. With ``copy=False`` bytes in a shared store come as read-only
        memoryviews of its memory.
        """
        threads = check_threads(threads, READ_THREADS)
        keys = list(keys)
        failures: dict[int, Exception] = {}  # by position, what the user's key= raised
        results: list[Any] = []
        try:
            cache_keys = self._make_keys(keys, failures if return_exceptions else None)
            if failures:
                keys = [key for position, key in enumerate(keys) if position not in failures]
            results += self._cache.partition.get_many(cache_keys, copy)
            self._load_missing(results, cache_keys, keys, threads, return_exceptions, copy)
            if not failures:
                return results.copy()
            found = iter(results)
            return [failures[n] if n in failures else next(found) for n in range(len(results) + len(failures))]
        finally:  # the exceptions' tracebacks refer to frames that refer to these: break the cycle
            results.clear()
            failures.clear()

    def _make_keys(self, keys: list[Any], failures: dict[int, Exception] | None) -> list[Hashable]:
        """Return the cache's keys, each made once, but for those that go into `failures`, if exceptions are wanted."""
        key_of, cache_keys = self._key_of, []
        for position, key in enumerate(keys):
            try:
                cache_keys.append(key_of(key))
            except Exception as exc:
                if failures is None:
                    _add_note(exc, key)
                    raise
                failures[position] = exc
        return cache_keys

    def _load_missing(
        self,
        results: list[Any],
        cache_keys: list[Hashable],
        keys: list[Any],
        threads: int,
        return_exceptions: bool,
        copy: bool,
    ) -> None:
        """Replace each MISSING in `results`, in place."""
        positions: dict[Hashable, list[int]] = {}  # by key, all positions at which it is missing
        for position, value in enumerate(results):
            if value is MISSING:
                positions.setdefault(cache_keys[position], []).append(position)
        if not positions:
            return

        def load(first: int) -> None:
            try:
                results[first] = self._load(cache_keys[first], keys[first])
            except Exception as exc:
                if not return_exceptions:
                    _add_note(exc, keys[first])
                    raise
                results[first] = exc

        firsts = [first for first, *_ in positions.values()]
        if self._cache.batched is None:
            run_on_threads(load, firsts, min(threads, len(firsts)))
        else:
            self._load_batch(results, cache_keys, keys, firsts, return_exceptions)
        self._spread(results, positions.values(), copy)

    def _spread(self, results: list[Any], positions: Iterable[list[int]], copy: bool) -> None:
        """Put what was loaded at the first of several positions of a key at the others too."""
        for first, *others in positions:
            value = results[first]
            if self._views and not copy and isinstance(value, bytes):
                results[first] = value = memoryview(value)
            for position in others:
                results[position] = copy_containers(value) if self._views else value
            if others:
                self._cache.partition.counters.hit(len(others))

    def _load_batch(
        self,
        results: list[Any],
        cache_keys: list[Hashable],
        keys: list[Any],
        firsts: list[int],
        return_exceptions: bool,
    ) -> None:
        """Replace the results at the positions `firsts` in one call of a batched function."""
        wanted = {cache_keys[first]: keys[first] for first in firsts}
        self._note(wanted)
        found = read_batch(self._cache, self._bound, wanted, self._miss)
        try:
            self._note(wanted)
            for first in firsts:
                results[first] = found[cache_keys[first]]
                if isinstance(results[first], Exception) and not return_exceptions:
                    _add_note(results[first], keys[first])
                    raise results[first]
        finally:
            found.clear()  # the exceptions' tracebacks keep this frame alive

    def _note(self, keys: Iterable[Hashable]) -> None:
        """Take note of keys that are about to be stored, and again when they are."""

    def _load(self, cache_key: Hashable, key: Any) -> Any:
        return self._miss(cache_key, (*self._bound, key), {})

    def warm(
        self,
        keys: Iterable[Any],
        threads: int | None = None,
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> CacheStats:
        """Read `keys` ahead until all are stored or the cache is full (one more of the mean size would not fit).

        Return ``cache_stats()``. A key whose read raises is passed over, counted in ``errors``, and reported in one
        RuntimeWarning at the end; the call that needs it raises again. batch_size: for how many keys a batched function
        is called (default: 64), on `threads` threads (default: two, so that one call's values are stored during the
        other); what then does not fit was read in vain. With `progress` a tqdm bar is shown on stderr, or a plain line
        if tqdm is not installed. Ctrl-C ends the reads that were started and leaves the cache with what it has.
        """
        batched = self._cache.batched is not None
        if batch_size is not None and not batched:
            raise TypeError("batch_size is for functions with batched=True, which take several keys")
        size = check_int(batch_size, "batch_size", 1) if batch_size is not None else _BATCH_SIZE if batched else 1
        threads = check_threads(threads, _BATCH_THREADS if batched else READ_THREADS)
        failed: list[tuple[Any, str]] = []
        with progress_bar("warm", length_hint(keys) or None, progress) as advance:

            def read(batch: list[Any]) -> None:
                failed.extend(self._warm_batch(batch) if batched else self._warm_one(*batch))
                advance(len(batch))

            run_on_threads(read, self._until_full(keys, size), threads)
        if failed:
            key, exc = failed[0]
            message = f"warm passed over {len(failed)} keys whose read raised; the first: {key!r}: {exc}"
            warn_caller(message)
        return self._cache.stats()

    def _until_full(self, keys: Iterable[Any], size: int) -> Iterator[list[Any]]:
        largest = self._cache.partition.largest
        keys = iter(keys if largest == sys.maxsize else (key for key in keys if not _is_larger(key, largest)))
        while batch := list(islice(keys, size)):
            if self._cache.partition.full and largest == sys.maxsize:  # else those that are left fit
                return
            yield batch

    def _warm_one(self, key: Any) -> list[tuple[Any, str]]:
        """Read a key that is not stored; return it with what its read raised, if anything."""
        try:
            cache_key = self._key_of(key)
            if self._cache.partition.get(cache_key) is MISSING:
                self._load(cache_key, key)
        except Exception as exc:
            return [(key, repr(exc))]
        return []

    def _warm_batch(self, keys: list[Any]) -> list[tuple[Any, str]]:
        """Read those keys that are not stored; return those whose read raised, with what it was."""
        values = self.map(keys, return_exceptions=True)
        failed = [(key, repr(value)) for key, value in zip(keys, values, strict=True) if isinstance(value, Exception)]
        values.clear()  # the exceptions' tracebacks may keep this frame alive
        return failed


def _is_larger(key: Any, most: int) -> bool:
    """Return whether a key is the path of a file of more bytes."""
    try:
        return os.stat(key).st_size > most
    except (OSError, TypeError, ValueError):  # the function may know better, or says what is wrong
        return False


def _add_note(exc: Exception, key: Any) -> None:
    note = f"bytecache: while reading {key!r}"
    if sys.version_info >= (3, 11):
        exc.add_note(note)
    else:
        exc.__dict__.setdefault("__notes__", []).append(note)
