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
from collections.abc import Callable, Iterator
from typing import Any

import bytecache
from benchmarks import _measure, _plot, _report

KEYS = [f"/data/train/{i:06d}.jpg" for i in range(100)]
PASSES = 50
PACKAGES = ("cachetools", "cachebox", "moka-py", "theine", "diskcache")
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How often to measure."""
    parser.add_argument("--rounds", type=int, default=41, metavar="N", help="(default: %(default)s)")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Nanoseconds of a hit, [median, low, high], and how many times functools'."""
    functions, absent = readers()
    seconds = _measure.interleave({"": bare_loop} | {name: loop(f) for name, f in functions.items()}, options.rounds)
    ns = {
        name: [1000 * us for us in times] for name, times in _measure.per_call_us(seconds, PASSES * len(KEYS)).items()
    }
    hits = {
        name: {"ns": _measure.summary(times), "times_functools": _measure.speed(ns, "functools.lru_cache", name)}
        for name, times in ns.items()
    }
    return {"hits": hits, "absent": absent}


def tables(report: _report.Report) -> Iterator[_report.Table]:
    """The caches, from the fastest on."""
    ordered = sorted(report["hits"].items(), key=lambda item: item[1]["ns"])
    rows = [(name, _report.spread(hit["ns"]), _report.spread(hit["times_functools"])) for name, hit in ordered]
    rows += [(name, "not installed", "") for name in report["absent"]]
    columns = ("cache", "ns: median (10 % to 90 %)", "times functools")
    yield _report.Table("hits", "A hit, one str argument, the cost of the loop taken off", columns, rows)


def plot(report: _report.Report, figure: Any) -> None:
    """The caches, from the fastest on."""
    medians = {name: hit["ns"][0] for name, hit in sorted(report["hits"].items(), key=lambda item: item[1]["ns"])}
    axes = figure.subplots()
    _plot.ranking(axes, medians, "nanoseconds per hit, one str argument (left is better)", "{:,.0f} ns".format)
    axes.set_title("What does a hit in memory cost?")


if __name__ == "__main__":
    _report.main(__doc__, add_arguments, measure, tables, PACKAGES)
