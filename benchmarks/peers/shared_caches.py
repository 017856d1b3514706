"""Caches that several processes can share, filled with the same files, and the files themselves as the baseline."""

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
    """Return the bytes of a file without Python's file object, the least that reading it can cost."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, VALUE_BYTES + 1)
    finally:
        os.close(fd)


def read_view(path: str) -> memoryview:
    """Return a memoryview, so that hits are views of the store's memory."""
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
    slots = {path: i for i, path in enumerate(paths)}
    return lambda path: cache.get_slot(slots[path])


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
INVALID_VIEW = "py-lmdb, a view, plain key"  # the view ends with its transaction: it cannot be checked


def open_filled(name: str, folder: Path, paths: Sequence[str]) -> Read:
    """Return a read through this cache, filled with all paths; it may use the folder. Raises Absent without it."""
    try:
        return CONTENDERS[name](folder / name.replace(" ", "_").replace("/", "_"), paths)
    except ModuleNotFoundError:
        raise Absent("not installed") from None


def check(name: str, read: Read, paths: Sequence[str]) -> None:
    """Raise RuntimeError if a hit differs from the file."""
    for path in paths if name != INVALID_VIEW else ():
        value = read(path)
        if (value.numpy().tobytes() if hasattr(value, "numpy") else bytes(value)) != read_file(path):
            raise RuntimeError(f"{name} gave bytes that differ from {path}")
