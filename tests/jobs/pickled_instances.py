"""Instances and functions that workers get pickled: ``python pickled_instances.py METHOD``; see test_start_methods."""

from __future__ import annotations

import functools
import json
import multiprocessing
import sys
from typing import Any

import bytecache


def read_plain(n: int) -> bytes:
    return b"p" * n


@bytecache.fill_once(maxbytes="1 MiB")
def read(n: int) -> bytes:
    return b"r" * n


@bytecache.fill_once(shared=True, maxbytes="1 MiB")
def read_shared(n: int) -> bytes:
    return b"s" * n


class Adder:
    def __call__(self, n: int) -> bytes:
        return b"c" * n


class Files:
    """Its functions are made per instance, of whatever a function may be made of."""

    def __init__(self, root: bytes, **options: Any) -> None:
        self.root = root
        cached = bytecache.fill_once(maxbytes="1 MiB", **options)
        self.of_partial = cached(functools.partial(Files._read, root))
        self.of_function = cached(read_plain)
        self.of_object = cached(Adder())
        self.of_builtin = bytecache.fill_once(bytes)
        self.of_bound = cached(self._read_bound)

    @staticmethod
    def _read(root: bytes, n: int) -> bytes:
        return root * n

    def _read_bound(self, n: int) -> bytes:
        return self.root * n

    @bytecache.fill_once(maxsize=10)
    def method(self, n: int) -> bytes:
        return self.root * n

    @bytecache.fill_once(shared=True, maxbytes="1 MiB", key=lambda self, n: (self.root, n))
    def shared_method(self, n: int) -> bytes:
        return self.root * n


def names(files: Files) -> list[str]:
    return sorted(name for name in vars(files) if name.startswith("of_")) + ["method", "shared_method"]


def work(files: Files, functions: list[Any]) -> dict[str, Any]:
    """Return what each function returns for 2, and hits, misses and maxsize afterwards."""
    cached = {name: getattr(files, name) for name in names(files)}
    cached |= {f"{name}.uncached": one.uncached for name, one in cached.items()}
    cached |= {str(n): function for n, function in enumerate(functions)}
    return {name: [one(2).decode(), one.map([2]) == [one(2)], *one.cache_info()[:3]] for name, one in cached.items()}


if __name__ == "__main__":
    found = {}
    for kind, options in ("memory", {}), ("shared", {"shared": True}):
        files = Files(b"a", **options)
        functions = [files.method, files.method.uncached, read.uncached, read_shared.uncached]
        for one in (getattr(files, name) for name in names(files)):
            one(2)
        with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
            found[kind] = pool.apply(work, (files, functions))
    print(json.dumps(found))
