"""What does a hit cost, of fill_once and lru_cache beside functools.lru_cache and other caches?

    python -m benchmarks.hit [--rounds N] [--json FILE]

One str argument, room for all keys. The cost of the loop around the calls is taken off. A cache that is not installed
is named as absent.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import bytecache
from benchmarks import _measure

KEYS = [f"/data/train/{i:06d}.jpg" for i in range(100)]
PASSES = 50
OURS = ("fill_once", "lru_cache")
Read = Callable[[str], Any]


def simple_cache(function: Read) -> Read:
    """A recipe of 2018, written from its description: keyed by the hash of the first argument, an RLock, no limit."""
    lock, values = threading.RLock(), {}

    def call(*args: Any, **kwds: Any) -> Any:
        key = hash(args[0])
        with lock:
            if key not in values:
                values[key] = function(*args, **kwds)
            return values[key]

    return call


def _cachetools(**options: Any) -> Callable[[Read], Read]:
    import cachetools

    return cachetools.cached(cachetools.LRUCache(1000), **options)


def _cachebox() -> Callable[[Read], Read]:
    import cachebox

    return cachebox.cached(cachebox.LRUCache(1000))


def _moka() -> Callable[[Read], Read]:
    import moka_py

    return moka_py.cached(maxsize=1000)


def _theine() -> Callable[[Read], Read]:
    from datetime import timedelta

    import theine

    return theine.Memoize(1000, timedelta(hours=1))


def _diskcache() -> Callable[[Read], Read]:
    import diskcache

    return diskcache.Cache(tempfile.mkdtemp(prefix="bench-")).memoize()


PEERS: dict[str, tuple[str, Callable[[], Callable[[Read], Read]]]] = {
    "cachetools, LRUCache": ("cachetools", _cachetools),
    "cachetools, lock and info": ("cachetools", lambda: _cachetools(lock=threading.RLock(), info=True)),
    "cachetools, condition": ("cachetools", lambda: _cachetools(condition=threading.Condition())),
    "cachebox, LRUCache": ("cachebox", _cachebox),
    "moka-py": ("moka_py", _moka),
    "theine": ("theine", _theine),
    "diskcache": ("diskcache", _diskcache),
    "recipe of 2018": ("threading", lambda: simple_cache),
}


def readers() -> tuple[dict[str, Read], list[str]]:
    """The decorated functions, every key read once; and the caches that are not here."""

    def read(path: str) -> str:
        return path

    functions: dict[str, Read] = {
        "functools.lru_cache": functools.lru_cache(maxsize=1000)(read),
        "fill_once": bytecache.fill_once(maxbytes="1 GiB")(read),
        "lru_cache": bytecache.lru_cache(maxsize=1000)(read),
    }
    absent = []
    for name, (package, decorator) in PEERS.items():
        if importlib.util.find_spec(package) is None:
            absent.append(name)
        else:
            functions[name] = decorator()(read)
    for function in functions.values():
        for key in KEYS:
            function(key)
    return functions, absent


def loop(function: Read) -> Callable[[], None]:
    """Many hits in a row."""

    def run() -> None:
        for _ in range(PASSES):
            for key in KEYS:
                function(key)

    return run


def bare_loop() -> None:
    """The same loop without a call."""
    for _ in range(PASSES):
        for _key in KEYS:
            pass


def main() -> None:
    """Measures, prints the table, and writes the figures where --json says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=41, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    about = _measure.environment("cachetools", "cachebox", "moka-py", "theine", "diskcache")
    print(*(f"{name} {value}" for name, value in about.items()), sep=", ")
    functions, absent = readers()
    seconds = _measure.interleave({"": bare_loop} | {name: loop(f) for name, f in functions.items()}, options.rounds)
    empty = seconds.pop("")
    ns = {
        name: [1e9 * (time - none) / (PASSES * len(KEYS)) for time, none in zip(times, empty, strict=True)]
        for name, times in seconds.items()
    }
    figures, rows = {}, []
    for name in ns:
        to_functools = _measure.speed(ns, "functools.lru_cache", name)
        worse = max((_measure.speed(ns, name, ours) for ours in OURS), key=lambda share: share.median)
        figures[name] = {"ns": _measure.summary(ns[name]), "times_functools": to_functools, "ours_to_this": worse}
        rows.append((name, figures[name]["ns"], to_functools, verdict(name, to_functools.median, worse.median)))
    columns = ("", "ns a hit: median (10 % to 90 %)", "times functools", "to reach")
    _measure.print_table("A hit, one str argument", columns, rows)
    for name in absent:
        print(f"absent: {name} is not installed")
    _measure.write_json(options.json, {"about": about, "rounds": options.rounds, "hits": figures, "absent": absent})


def verdict(name: str, times_functools: float, ours_to_this: float) -> str:
    """Whether ours cost at most three times functools, and less than half of each other cache."""
    if name == "functools.lru_cache":
        return ""
    if name in OURS:
        return f"3 {'met' if times_functools <= 3 else 'MISSED'}"
    return f"ours below 0.5 of it: {ours_to_this:.2f} {'met' if ours_to_this < 0.5 else 'MISSED'}"


if __name__ == "__main__":
    main()
