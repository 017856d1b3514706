"""Many keys at once: ``map`` and ``warm`` of a cached function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from typing import TYPE_CHECKING, Any

from ..system.arguments import check_threads
from ..system.caller import warn_caller
from ..system.progress import progress_bar
from ..system.threads import cpu_count, run_on_threads
from .memory_cache import Cache
from .stats import CacheStats

if TYPE_CHECKING:
    from .shared_cache import SharedCache

_DEFAULT_READERS = min(32, cpu_count() + 4)  # reading waits more than it computes


class Bulk:
    """``map`` and ``warm`` for one cached function of one argument."""

    def __init__(
        self,
        cache: Cache | SharedCache,
        call: Callable[[Any], Any],
        key_of: Callable[[Any], Any],
        call_for_view: Callable[[Any], Any] | None = None,
    ) -> None:
        self._cache, self._key_of = cache, key_of
        self._call, self._call_for_view = call, call_for_view or call

    def map(
        self,
        keys: Iterable[Any],
        threads: int | None = None,
        *,
        return_exceptions: bool = False,
        copy: bool = True,
    ) -> list[Any]:
        """The values of ``function(key)`` for each of `keys`, in their order.

        Misses are read on `threads` threads at a time (default: processors + 4, at most 32); a key that comes twice
        is read once and counts as a hit the second time. The first exception, in the order of `keys`, is raised with
        the key in a note (``__notes__``; tracebacks show it from Python 3.11), after the reads that were begun have
        ended; with `return_exceptions` every exception stands in its key's place instead. With ``copy=False`` bytes
        held in a shared store come as read-only memoryviews of its memory.
        """
        threads = check_threads(threads, _DEFAULT_READERS)
        keys = list(keys)
        results: list[Any] = [None] * len(keys)
        places = self._places(keys, results, return_exceptions)
        call = self._call if copy else self._call_for_view

        def answer(first: int) -> None:
            results[first] = _answer(call, keys[first], return_exceptions)

        stored: list[int] = []
        absent: list[int] = []
        for cache_key, (first, *_) in places.items():
            (stored if self._cache.holds(cache_key) else absent).append(first)
        run_on_threads(answer, stored, 1)
        run_on_threads(answer, absent, min(threads, max(1, len(absent))))
        for first, *again in places.values():
            for place in again:
                results[place] = results[first]
                self._cache.count_hit()
        try:
            return results.copy()
        finally:
            results.clear()  # an exception among them has a traceback, and that holds the frames that hold the list

    def _places(self, keys: list[Any], results: list[Any], return_exceptions: bool) -> dict[Any, list[int]]:
        """Where each cache key comes; what the user's key= raised stands in `results` then."""
        places: dict[Any, list[int]] = {}
        for place, key in enumerate(keys):
            cache_key = _answer(self._key_of, key, return_exceptions)
            if isinstance(cache_key, Exception):
                results[place] = cache_key
            else:
                places.setdefault(cache_key, []).append(place)
        return places

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

            run_on_threads(read, self._until_full(keys), threads)
        if failed:
            key, exc = failed[0]
            message = f"warm passed over {len(failed)} keys whose read raised; the first: {key!r}: {exc}"
            warn_caller(message)
        return self._cache.stats()

    def _until_full(self, keys: Iterable[Any]) -> Iterator[Any]:
        for key in keys:
            if self._cache.full:
                return
            yield key


def _answer(call: Callable[[Any], Any], key: Any, return_exceptions: bool) -> Any:
    try:
        return call(key)
    except Exception as exc:
        if return_exceptions:
            return exc
        _add_note(exc, f"bytecache: while reading {key!r}")
        raise


def _add_note(exc: Exception, note: str) -> None:
    if sys.version_info >= (3, 11):
        exc.add_note(note)
    else:
        exc.__dict__.setdefault("__notes__", []).append(note)
