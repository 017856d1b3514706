"""Caching decorators as people use them, large enough for every key."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bytecache
from benchmarks.harness.measure import Absent
from benchmarks.peers.policies import simple_cache

CAPACITY = 100_000  # entries
PACKAGES = ("cachetools", "cachebox", "moka-py", "theine", "diskcache")
BASELINE = "functools.lru_cache"
Read = Callable[[str], Any]
Decorator = Callable[[Read], Read]


def _cachetools(**options: Any) -> Decorator:
    import cachetools

    return cachetools.cached(cachetools.LRUCache(CAPACITY), **options)


def _cachebox() -> Decorator:
    import cachebox

    return cachebox.cached(cachebox.LRUCache(CAPACITY))


def _moka() -> Decorator:
    import moka_py

    return moka_py.cached(maxsize=CAPACITY)


def _theine() -> Decorator:
    import theine

    return theine.Memoize(CAPACITY, None)


def _diskcache(folder: Path) -> Decorator:
    import diskcache

    return diskcache.Cache(str(folder)).memoize()


DECORATORS: dict[str, Callable[[Path], Decorator]] = {
    BASELINE: lambda folder: functools.lru_cache(maxsize=CAPACITY),
    "fill_once": lambda folder: bytecache.fill_once(maxbytes="1 GiB"),
    "lru_cache": lambda folder: bytecache.lru_cache(maxsize=CAPACITY),
    "cachetools, LRUCache": lambda folder: _cachetools(),
    "cachetools, lock and info": lambda folder: _cachetools(lock=threading.RLock(), info=True),
    "cachetools, condition": lambda folder: _cachetools(condition=threading.Condition()),
    "cachebox, LRUCache": lambda folder: _cachebox(),
    "moka-py": lambda folder: _moka(),
    "theine": lambda folder: _theine(),
    "diskcache": _diskcache,
    "recipe of 2018": lambda folder: simple_cache,
}


def decorated(name: str, function: Read, folder: Path) -> Read:
    """Return the function with this cache, which may use the folder. Raises Absent if it is not installed."""
    try:
        return DECORATORS[name](folder)(function)
    except ModuleNotFoundError:
        raise Absent("not installed") from None
