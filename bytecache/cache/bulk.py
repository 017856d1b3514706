"""Many keys at once: ``map`` and ``warm`` of a cached function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator
from operator import length_hint
from typing import Any

from ..stores.base import MISSING
from ..stores.structures import copy_containers
from ..system.arguments import check_threads
from ..system.caller import warn_caller
from ..system.progress import progress_bar
from ..system.threads import cpu_count, run_on_threads
from .read_through import ReadThrough
from .stats import CacheStats

_DEFAULT_READ_THREADS = min(32, cpu_count() + 4)  # reading waits more than it computes


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

        Misses are read on `threads` threads at a time (default: processors + 4, at most 32). A key that comes twice is
        read once and counts as a hit the second time. The first exception, in the order of `keys`, is raised with the
        key in a note (``__notes__``; tracebacks show it from Python 3.11), after the reads that were started have
        ended; with `return_exceptions` every exception is in its key's position instead. With ``copy=False`` bytes in
        a shared store come as read-only memoryviews of its memory.
        """
        threads = check_threads(threads, _DEFAULT_READ_THREADS)
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
                value = self._load(cache_keys[first], keys[first])
            except Exception as exc:
                if not return_exceptions:
                    _add_note(exc, keys[first])
                    raise
                results[first] = exc
            else:
                results[first] = memoryview(value) if self._views and not copy and isinstance(value, bytes) else value

        run_on_threads(load, [first for first, *_ in positions.values()], min(threads, len(positions)))
        for first, *others in positions.values():
            for position in others:
                results[position] = copy_containers(results[first]) if self._views else results[first]
            if others:
                self._cache.partition.counters.hit(len(others))

    def _load(self, cache_key: Hashable, key: Any) -> Any:
        return self._miss(cache_key, (*self._bound, key), {})

    def warm(self, keys: Iterable[Any], threads: int | None = None, *, progress: bool = False) -> CacheStats:
        """Read `keys` ahead until all are stored or the cache is full (one more of the mean size would not fit).

        Return ``cache_stats()``. A key whose read raises is passed over, counted in ``errors``, and reported in one
        RuntimeWarning at the end; the call that needs it raises again. With `progress` a tqdm bar is shown on stderr,
        or a plain line if tqdm is not installed. Ctrl-C ends the reads that were started and leaves the cache with what
        it has.
        """
        threads = check_threads(threads, _DEFAULT_READ_THREADS)
        failed: list[tuple[Any, str]] = []
        with progress_bar("warm", length_hint(keys) or None, progress) as advance:

            def read(key: Any) -> None:
                try:
                    cache_key = self._key_of(key)
                    if self._cache.partition.get(cache_key) is MISSING:
                        self._load(cache_key, key)
                except Exception as exc:
                    failed.append((key, repr(exc)))
                advance()

            run_on_threads(read, self._until_full(keys), threads)
        if failed:
            key, exc = failed[0]
            message = f"warm passed over {len(failed)} keys whose read raised; the first: {key!r}: {exc}"
            warn_caller(message)
        return self._cache.stats()

    def _until_full(self, keys: Iterable[Any]) -> Iterator[Any]:
        for key in keys:
            if self._cache.partition.full:
                return
            yield key


def _add_note(exc: Exception, key: Any) -> None:
    note = f"bytecache: while reading {key!r}"
    if sys.version_info >= (3, 11):
        exc.add_note(note)
    else:
        exc.__dict__.setdefault("__notes__", []).append(note)
