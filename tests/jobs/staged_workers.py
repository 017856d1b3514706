"""A pipeline that workers get pickled: ``python staged_workers.py METHOD FOLDER``; see test_function of staged."""

from __future__ import annotations

import json
import multiprocessing
import sys
from typing import Any

import bytecache


def read(key: int) -> bytes:
    return bytes([key]) * 100


def decode(data: bytes) -> bytes:
    return data * 2


def call(load: Any) -> Any:
    """Return the values of some keys, and hits and misses of this process, and of all."""
    values = [load(key)[0] for key in (1, 2, 1)] + [value[0] for value in load.map([2, 3, 4, 5])]
    stats = load.cache_stats("all")
    return values, load.cache_info()[:2], [stats.hits, stats.misses], load.plan().items, load.__name__


def main() -> None:
    method, folder = sys.argv[1:]
    context = multiprocessing.get_context(method)
    found = {}
    places: dict[str, Any] = {
        "memory": {"maxbytes": 100_000},
        "store": {"store": bytecache.SharedStore(folder, maxbytes=1 << 20)},
        "shared": {"shared": True, "maxbytes": 1 << 20},
        "tiers": {"store": [bytecache.SharedStore(f"{folder} {n}", maxbytes=1 << n) for n in (6, 20)]},
    }
    for name, place in places.items():
        load = bytecache.staged(read, decode, items=10, cost=[1.0, 1.0], **place)
        call(load)
        with context.Pool(1) as pool:
            found[name] = pool.apply(call, (load,))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
