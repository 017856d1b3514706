"""Type-checked by mypy --strict, as by pyright, and never run: what a user's editor knows about cached functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import assert_type

import bytecache
from bytecache.http import HttpReader
from bytecache.metrics import Collector, Metric, collector, openmetrics


@bytecache.fill_once
def bare(path: str) -> bytes:
    return path.encode()


@bytecache.fill_once(maxbytes="4 GiB", key=lambda path, offset=0: (path, offset), once=False)
def called(path: str, offset: int = 0) -> bytes:
    return path.encode()[offset:]


@bytecache.lru_cache(maxsize=None, typed=True)
def recent(n: int) -> float:
    return n / 2


@bytecache.fill_once(store=bytecache.SharedStore("/tmp/store", maxbytes="1 GiB"), key=bytecache.file_key, version=2)
def shared(path: str) -> bytes:
    return path.encode()


tiers = [bytecache.SharedStore(maxbytes="1 GiB"), bytecache.SharedStore("/tmp/kept", maxbytes="4 GiB")]


@bytecache.fill_once(store=tiers)
def tiered(path: str) -> bytes:
    return path.encode()


@bytecache.fill_once(maxbytes="4 GiB", batched=True)
def many(paths: list[str]) -> list[bytes | Exception]:
    return [path.encode() if path else KeyError(path) for path in paths]


@bytecache.lru_cache(batched=True)
def squares(numbers: list[int]) -> tuple[int, ...]:
    return tuple(number**2 for number in numbers)


http = bytecache.fill_once(maxsize=0, batched=True)(HttpReader("https://host/train"))


class Folder:
    @bytecache.lru_cache
    def read(self, name: str) -> bytes:
        return name.encode()

    @bytecache.fill_once(maxbytes="4 GiB", keep_alive=True)
    def part(self, name: str, offset: int = 0) -> bytes:
        return name.encode()[offset:]

    @bytecache.fill_once(batched=True)
    def parts(self, names: list[str]) -> list[bytes | Exception]:
        return [name.encode() for name in names]

    @staticmethod
    @bytecache.fill_once
    def static(name: str) -> bytes:
        return name.encode()

    @classmethod
    @bytecache.fill_once
    def of_class(cls, name: str) -> bytes:
        return name.encode()


class Subfolder(Folder):
    def read_twice(self, name: str) -> bytes:
        return super().read(name) + self.part(name, offset=3) + self.static(name) + self.of_class(name)


assert_type(bare("a"), bytes)
assert_type(tiered("a"), bytes)
assert_type(called("a", offset=3), bytes)
assert_type(recent(3), float)
assert_type(Folder().read("a"), bytes)
assert_type(Folder().part("a", offset=3), bytes)
assert_type(Folder.read(Folder(), "a"), bytes)
assert_type(Folder.static("a"), bytes)
assert_type(Folder().static("a"), bytes)
assert_type(Folder.of_class("a"), bytes)
assert_type(Folder().of_class("a"), bytes)
assert_type(Subfolder().read("a"), bytes)
assert_type(Folder().read.map(["a"]), list[bytes])
assert_type(Folder.static.map(["a"]), list[bytes])
assert_type(Folder.of_class.map(["a"]), list[bytes])
assert_type(Folder().read.warm(["a"]), bytecache.CacheStats)
assert_type(Folder.read.cache_clear(), None)
assert_type(Folder.read.cache_info(), bytecache.CacheInfo)
assert_type(Folder().read.uncached("a"), bytes)
assert_type(bare.map(["a", "b"]), list[bytes])
assert_type(many("a"), bytes)
assert_type(many.map(["a"]), list[bytes])
assert_type(many.warm(["a"], batch_size=8), bytecache.CacheStats)
assert_type(squares(3), int)
assert_type(http.map(["a.jpg"]), list[bytes])
assert_type(Folder().parts("a"), bytes)
assert_type(Folder().parts.map(["a"]), list[bytes])
assert_type(bare.uncached("a"), bytes)
assert_type(bare.uncached.map(["a"]), list[bytes])
assert_type(bare.__name__ + bare.__qualname__ + bare.__module__, str)
assert_type(bare.cache_info(), bytecache.CacheInfo)
assert_type((bare.cache_stats() - bare.warm(["a"])).hit_rate, float)
assert_type(bare.__wrapped__("a"), bytes)
assert_type(bare.metrics(), tuple[Metric, ...])
assert_type(Folder().read.metrics("all", name="train"), tuple[Metric, ...])
assert_type([value for metric in tiered.metrics() for _, _, value in metric.samples], list[float])
assert_type(openmetrics(bare.metrics() + tiered.metrics()), str)
assert_type(collector({"train": bare, "method": Folder().read}, scope="process"), Collector)
assert_type(collector(bytecache.staged(len, maxbytes=1)), Collector)
assert_type(tiered.cache_stats().servers, tuple[bytecache.ServerStats, ...])
assert_type(called.cache_contains("a", offset=3), bool)
assert_type(shared.cache_discard("a"), bool)
assert_type(recent.cache_keys(), list[Any])
assert_type(bytecache.decode_jpeg(bare("a")).dtype, np.dtype[np.uint8])
assert_type(shared("a"), bytes)
assert_type(shared.cache_stats(scope="all").hits, int)
assert_type(shared.map(["a"], copy=False), list[bytes])

bare(1)  # type: ignore[arg-type]
collector(len)  # type: ignore[arg-type]
many(["a"])  # type: ignore[arg-type]
squares("a")  # type: ignore[arg-type]
Folder().parts(3)  # type: ignore[arg-type]
Folder().read(1)  # type: ignore[arg-type]
Folder().part("a", offset="b")  # type: ignore[arg-type]
Folder().static(1)  # type: ignore[arg-type]
called("a", offset="b")  # type: ignore[arg-type]
called.cache_discard(3)  # type: ignore[arg-type]
bytecache.fill_once(maxbytes=1.5)  # type: ignore[call-overload]
bytecache.lru_cache(shared=True)  # type: ignore[call-overload]
bytecache.SharedStore("/tmp/store", maxbytes=1.5)  # type: ignore[arg-type]
