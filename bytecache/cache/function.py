"""What the decorators return."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar

from .stats import CacheInfo, CacheStats

P = ParamSpec("P")
R = TypeVar("R")


class CachedFunction(Protocol[P, R]):
    """What the decorators return: the function, with its cache behind it.

    ``map`` and ``warm`` call the function with one key at a time; for a method, decorate a function that is made per
    instance, such as ``functools.partial(method, instance)``.
    """

    @property
    def __wrapped__(self) -> Callable[P, R]: ...
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Callable[..., R]: ...
    def cache_info(self, scope: str = "process") -> CacheInfo:
        """Hits, misses, maxsize and currsize, as in functools; of this process, or ("all") of all that share it."""

    def cache_stats(self, scope: str = "process") -> CacheStats:
        """All figures: see CacheStats; of this process, or ("all") of all that share a store."""

    def cache_clear(self) -> None:
        """Empties the cache and sets its counters to zero."""

    def cache_parameters(self) -> dict[str, Any]:
        """maxsize and typed; with a budget also maxbytes."""

    def map(
        self, keys: Iterable[Any], threads: int | None = None, *, return_exceptions: bool = False, copy: bool = True
    ) -> list[R]: ...
    def warm(self, keys: Iterable[Any], threads: int | None = None, *, progress: bool = False) -> CacheStats: ...
