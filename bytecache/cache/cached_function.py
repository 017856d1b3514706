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
        """Return maxsize and typed; with a budget also maxbytes."""

    def map(
        self, keys: Iterable[Any], threads: int | None = None, *, return_exceptions: bool = False, copy: bool = True
    ) -> list[R]: ...
    def warm(self, keys: Iterable[Any], threads: int | None = None, *, progress: bool = False) -> CacheStats: ...
