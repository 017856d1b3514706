"""Caches that hold values for several processes, filled with the same files; and what they are measured against."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bytecache
from benchmarks.harness.measure import Absent
from benchmarks.peers.lmdb_cache import Lmdb, hashed
from benchmarks.workloads.files import BUDGET, VALUE_BYTES, read_file

FILE = "open(path, 'rb').read()"
OURS = "fill_once(shared=True), bytes"
PACKAGES = ("numpy", "lmdb", "torch", "stocaching", "diskcache")
Read = Callable[[str], Any]


def read_unbuffered(path: str) -> bytes:
    """The same without Python's file object, which is the least that a file costs."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, VALUE_BYTES + 1)
    finally:
        os.close(fd)


def read_view(path: str) -> memoryview:
    """A function whose hits are views on the store's memory."""
    return memoryview(read_file(path))


def _filled(read: Read, paths: Sequence[str]) -> Read:
    for path in paths:
        read(path)
    return read


def _lmdb(folder: Path, paths: Sequence[str], key: Callable[[str], bytes], view: bool = False) -> Read:
    lmdb = Lmdb(folder)
    for path in paths:
        lmdb.put(key(path), read_file(path))
    get = lmdb.get_view if view else lmdb.get
    return lambda path: get(key(path))


def _stocaching(paths: Sequence[str]) -> Read:
    import stocaching
    import torch

    with contextlib.redirect_stdout(io.StringIO()):
        cache = stocaching.SharedCache(2, len(paths), (VALUE_BYTES,))
    for i, path in enumerate(paths):
        cache.set_slot(i, torch.frombuffer(bytearray(read_file(path)), dtype=torch.uint8))
    places = {path: i for i, path in enumerate(paths)}
    return lambda path: cache.get_slot(places[path])


def _diskcache(folder: Path, paths: Sequence[str]) -> Read:
    import diskcache

    cache = diskcache.Cache(str(folder), size_limit=2**31)
    for path in paths:
        cache[path] = read_file(path)
    return cache.get


CONTENDERS: dict[str, Callable[[Path, Sequence[str]], Read]] = {
    FILE: lambda folder, paths: read_file,
    "os.open, os.read": lambda folder, paths: read_unbuffered,
    OURS: lambda folder, paths: _filled(bytecache.fill_once(shared=True, maxbytes=BUDGET)(read_file), paths),
    "fill_once(shared=True), a view": lambda folder, paths: _filled(
        bytecache.fill_once(shared=True, maxbytes=BUDGET)(read_view), paths
    ),
    "fill_once, in one process": lambda folder, paths: _filled(bytecache.fill_once(maxbytes=BUDGET)(read_file), paths),
    "py-lmdb, bytes, hashed key": lambda folder, paths: _lmdb(folder, paths, hashed),
    "py-lmdb, bytes, plain key": lambda folder, paths: _lmdb(folder, paths, str.encode),
    "py-lmdb, a view, plain key": lambda folder, paths: _lmdb(folder, paths, str.encode, view=True),
    "stocaching, a tensor by its number": lambda folder, paths: _stocaching(paths),
    "diskcache, get": _diskcache,
}
OVER_WITH_ITS_TRANSACTION = "py-lmdb, a view, plain key"  # so that nobody can look at it


def holding(name: str, folder: Path, paths: Sequence[str]) -> Read:
    """Reads through this cache, which holds the value of every path and may use the folder; Absent without it."""
    try:
        return CONTENDERS[name](folder / name.replace(" ", "_").replace("/", "_"), paths)
    except ModuleNotFoundError:
        raise Absent("not installed") from None


def check(name: str, read: Read, paths: Sequence[str]) -> None:
    """Raises RuntimeError where a hit is not what is in the file."""
    for path in paths if name != OVER_WITH_ITS_TRANSACTION else ():
        value = read(path)
        if (value.numpy().tobytes() if hasattr(value, "numpy") else bytes(value)) != read_file(path):
            raise RuntimeError(f"{name} gave other bytes than the file has")
