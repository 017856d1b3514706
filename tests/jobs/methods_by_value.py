"""A class of a script, given to a process that cannot import it: ``python methods_by_value.py cloudpickle``."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Any

import bytecache


class Reader:
    def __init__(self, root: bytes) -> None:
        self.root = root

    @bytecache.fill_once(maxsize=5)
    def read(self, n: int) -> bytes:
        return self.root * n

    @staticmethod
    @bytecache.fill_once
    def static(n: int) -> bytes:
        return b"s" * n

    @classmethod
    @bytecache.lru_cache
    def of_class(cls, n: int) -> bytes:
        return cls.__name__[:1].encode() * n

    @bytecache.fill_once(shared=True, maxbytes="1 MiB", key=lambda self, n: (self.root, n))
    def shared(self, n: int) -> bytes:
        return self.root * n


WORKER = """
import json, sys, {pickler}
reader, unbound, functions = {pickler}.load(sys.stdin.buffer)
functions += [reader.read, reader.static, reader.of_class, reader.shared, reader.read.uncached]
assert unbound(reader, 2) == b"aa"
print(json.dumps([[f(2).decode(), f.map([2])[0].decode(), *f.cache_info()[:2]] for f in functions]))
"""

if __name__ == "__main__":
    pickler: Any = importlib.import_module(sys.argv[1])
    reader = Reader(b"a")
    functions: list[Any] = [reader.read, Reader.static, Reader.static.uncached, reader.shared, reader.read.uncached]
    for one in functions:
        one(2)
    data = pickler.dumps((reader, Reader.read, functions))
    environment = {name: value for name, value in os.environ.items() if name != "BYTECACHE_RUN"}  # started before
    command = [sys.executable, "-c", WORKER.format(pickler=sys.argv[1])]
    subprocess.run(command, input=data, env=environment, check=True)
