"""Functions that record their runs, and the counters of their caches."""

from __future__ import annotations

from typing import Any


def counting(decorate: Any, function: Any = lambda x: x) -> tuple[Any, list[Any]]:
    """Return the decorated function, and the list of the arguments it ran with."""
    ran: list[Any] = []

    @decorate
    def run(x: Any) -> Any:
        ran.append(x)
        return function(x)

    return run, ran


def stats_of(cached: Any, *names: str) -> tuple[Any, ...]:
    """Return these fields of ``cache_stats()``."""
    stats = cached.cache_stats()
    return tuple(getattr(stats, name) for name in names)
