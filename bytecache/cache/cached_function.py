"""What the decorators return."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar

from .stats import CacheInfo, CacheStats

P = ParamSpec("P")
R = TypeVar("R")


class CachedFunction(Protocol[P, R]):
    """What the decorators return: the function with a cache.

    ``map`` and ``warm`` call the function with one key at a time; for a method, decorate a function that is made per
    instance, such as ``functools.partial(method, instance)``.
    """

    @property
    def __wrapped__(self) -> Callable[P, R]: ...
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Callable[..., R]: ...
    def cache_info(self, scope: str = "process") -> CacheInfo:
        """Return functools' four fields; of this process, or ("all") of all that share the values."""

    def cache_stats(self, scope: str = "process") -> CacheStats:
        """Return all counters, see CacheStats; of this process, or ("all") of all that share the values."""

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
    ) -> list[R]: ...
    def warm(self, keys: Iterable[Any], threads: int | None = None, *, progress: bool = False) -> CacheStats: ...
