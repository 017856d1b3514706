"""Functions that note their runs, and the counters of their caches."""

from __future__ import annotations

from typing import Any


def counting(decorate: Any, function: Any = lambda x: x) -> tuple[Any, list[Any]]:
    """The decorated function, and the list of the arguments it ran with."""
    ran: list[Any] = []

    @decorate
    def run(x: Any) -> Any:
        ran.append(x)
        return function(x)

    return run, ran


def figures(cached: Any, *names: str) -> tuple[Any, ...]:
    """These figures of ``cache_stats()``."""
    stats = cached.cache_stats()
    return tuple(getattr(stats, name) for name in names)
