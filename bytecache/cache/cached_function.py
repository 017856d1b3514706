"""What the decorators return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from .metrics import Metric
from .stats import CacheInfo, CacheStats

P = ParamSpec("P")
Q = ParamSpec("Q")
K = TypeVar("K")
R = TypeVar("R")
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Method(Protocol[S_contra, Q, R_co]):
    """A function whose first argument is an instance, or a class, of type S."""

    def __call__(self, first: S_contra, /, *args: Q.args, **kwargs: Q.kwargs) -> R_co: ...


class CachedFunction(Protocol[P, R]):
    """A function with a cache: what :func:`bytecache.fill_once` and :func:`bytecache.lru_cache` return.

    Called as the function is. In a class it is a method: ``instance.read.map(keys)`` and ``instance.read.warm(keys)``
    read for that instance, while the counters, the limits and ``cache_clear`` are those of all instances together.
    """

    __name__: str
    __qualname__: str

    @property
    def __wrapped__(self) -> Callable[P, R]:
        """The function itself, as in functools: a call of it is neither looked up nor counted."""

    @property
    def uncached(self) -> CachedFunction[P, R]:
        """The function without its cache: calls look nothing up and store nothing, as for validation.

        It counts its own misses, and has the same methods: ``read.uncached.map(keys)`` reads on threads. Pickles.
        """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    # In a class: of a class method, by class; by class; of a method; of a class method; of a static method.
    @overload
    def __get__(self: Method[type[S], Q, R], instance: None, owner: type[S], /) -> CachedFunction[Q, R]: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> CachedFunction[P, R]: ...
    @overload
    def __get__(self: Method[S, Q, R], instance: S, owner: type | None = None, /) -> CachedFunction[Q, R]: ...
    @overload
    def __get__(self: Method[type[S], Q, R], instance: S, owner: type[S], /) -> CachedFunction[Q, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> CachedFunction[P, R]: ...
    def cache_info(self, scope: str = "process") -> CacheInfo:
        """Return functools' four fields; of this process, or ("all") of all that share the values."""

    def cache_stats(self, scope: str = "process") -> CacheStats:
        """Return all counters, see CacheStats; of this process, or ("all") of all that share the values."""

    def metrics(self, scope: str = "process", *, name: str | None = None) -> tuple[Metric, ...]:
        """Return all counters as metrics with the names, types and units of OpenMetrics, see :mod:`bytecache.metrics`.

        Hits, misses, insertions, rejections, evictions, entries and bytes of each tier; runs, errors and seconds of the
        function; of a staged cache runs, hits and seconds of each stage; of a store behind a network the state of each
        server. Labels: ``function``, which is `name`, or else the module and name of the function; ``tier``, which is
        "memory" or the class of a store, ``stage`` and ``server``. scope: as of cache_stats.
        """

    def cache_clear(self) -> None:
        """Empty the cache and set its counters to zero."""

    def cache_parameters(self) -> dict[str, Any]:
        """Return maxsize and typed; with a budget also maxbytes; of a shared store also path, its folder, as a str."""

    def cache_contains(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Return whether there is a value for a call with these arguments; neither a use nor counted."""

    def cache_discard(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the value of a call with these arguments, and return whether there was one.

        It counts as evicted. In memory its room is free at once; a shared store, in which from then on no process finds
        it, begins the function's values anew when it is full and more than half of them are gone. What this process is
        reading for the call meanwhile is handed out and not stored, unless the function was decorated with once=False;
        what another process is reading may be stored afterwards. Raises OSError for a store that is open for reading
        alone, or whose lock a stopped process has.
        """

    def cache_keys(self) -> list[Any]:
        """Return the keys of the values in this process's memory, as they are now, in a list of its own.

        A key is what ``key=`` has returned; or else the argument of a call with a single positional one, if that is not
        a tuple; or else a tuple of the positional arguments, with a tuple (name, value) for each that was given by
        keyword. Raises TypeError for a shared store, which has digests of keys alone.
        """

    def map(
        self, keys: Iterable[Any], threads: int | None = None, *, return_exceptions: bool = False, copy: bool = True
    ) -> list[R]:
        """Return ``function(key)`` for each of `keys`, in order.

        Misses are read on `threads` threads at a time (default: processors + 4, at most 32); a batched function is
        called once, with all that no other call is reading. A key that comes twice is read once and counts as a hit the
        second time. The first exception, in the order of `keys`, is raised with the key in a note (``__notes__``;
        tracebacks show it from Python 3.11), after the reads that were started have ended; with `return_exceptions`
        every exception is in its key's position instead. With ``copy=False`` bytes in a shared store come as read-only
        memoryviews of its memory.
        """

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


class BatchDecorator(Protocol):
    """What the decorators return with ``batched=True``: from a function of a list of keys to one of a key."""

    @overload
    def __call__(self, function: Callable[[list[K]], Sequence[R | Exception]], /) -> CachedFunction[[K], R]: ...
    @overload
    def __call__(self, function: Callable[[S, list[K]], Sequence[R | Exception]], /) -> CachedFunction[[S, K], R]: ...
