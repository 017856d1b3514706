"""Many keys at once: ``map`` and ``warm`` of a cached function."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from operator import length_hint
from typing import Any

from .cache import Cache
from .pool import check_threads, cpu_count, run_shared
from .progress import progress_bar
from .stats import CacheStats

_DEFAULT_READERS = min(32, cpu_count() + 4)  # reading waits more than it computes


class Bulk:
    """``map`` and ``warm`` for one cached function of one argument."""

    def __init__(self, cache: Cache, call: Callable[[Any], Any], key_of: Callable[[Any], Hashable]) -> None:
        self._cache, self._call, self._key_of = cache, call, key_of

    def map(self, keys: Iterable[Any], threads: int | None = None, *, return_exceptions: bool = False) -> list[Any]:
        """The values of ``function(key)`` for each of `keys`, in their order.

        Misses are read on `threads` threads at a time (default: processors + 4, at most 32); a key that comes twice
        is read once and counts as a hit the second time. The first exception, in the order of `keys`, is raised with
        the key in a note (``__notes__``; tracebacks show it from Python 3.11), after the reads that were begun have
        ended; with `return_exceptions` every exception stands in its key's place instead.
        """
        threads = check_threads(threads, _DEFAULT_READERS)
        keys = list(keys)
        results: list[Any] = [None] * len(keys)
        places: dict[Hashable, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(self._key_of(key), []).append(place)

        def answer(first: int) -> None:
            results[first] = self._answer(keys[first], return_exceptions)

        stored: list[int] = []
        absent: list[int] = []
        for cache_key, (first, *_) in places.items():
            (stored if cache_key in self._cache.store.entries else absent).append(first)
        run_shared(answer, stored, 1)
        run_shared(answer, absent, min(threads, max(1, len(absent))))
        for first, *again in places.values():
            for place in again:
                results[place] = results[first]
                self._cache.hits.tick()
        try:
            return results.copy()
        finally:
            results.clear()  # an exception among them has a traceback, and that holds the frames that hold the list

    def _answer(self, key: Any, return_exceptions: bool) -> Any:
        try:
            return self._call(key)
        except Exception as exc:
            if return_exceptions:
                return exc
            _add_note(exc, f"bytecache: while reading {key!r}")
            raise

    def warm(self, keys: Iterable[Any], threads: int | None = None, *, progress: bool = False) -> CacheStats:
        """Reads `keys` ahead until all are held or the cache is full (a mean entry more would not fit).

        Returns ``cache_stats()``. A key whose read raises is passed over, counted in ``errors``, and reported in one
        RuntimeWarning at the end; the call that needs it raises again. With `progress` a tqdm bar is shown on
        stderr, or a plain line where tqdm is not installed. Ctrl-C ends the reads that were begun and leaves the
        cache with what it has.
        """
        threads = check_threads(threads, _DEFAULT_READERS)
        failed: list[tuple[Any, str]] = []
        with progress_bar("warm", length_hint(keys) or None, progress) as advance:

            def read(key: Any) -> None:
                try:
                    self._call(key)
                except Exception as exc:
                    failed.append((key, repr(exc)))
                advance()

            run_shared(read, self._until_full(keys), threads)
        if failed:
            key, exc = failed[0]
            message = f"warm passed over {len(failed)} keys whose read raised; the first: {key!r}: {exc}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        return self._cache.stats()

    def _until_full(self, keys: Iterable[Any]) -> Iterator[Any]:
        for key in keys:
            if self._cache.store.full:
                return
            yield key


def _add_note(exc: Exception, note: str) -> None:
    if sys.version_info >= (3, 11):
        exc.add_note(note)
    else:
        exc.__dict__.setdefault("__notes__", []).append(note)
