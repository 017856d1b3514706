"""How the training set reads, as arguments of its ImageDataset: through the cache that the user chose."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

import bytecache

from . import common
from .errors import UserError


def in_this_process(storage: common.Storage, args: argparse.Namespace, training_bytes: int) -> dict[str, Any]:
    """Return how ``train`` reads, whose workers are threads; training_bytes: of which the budget may be a percentage.

    With "auto" the data set makes the cache itself: it keeps files or their pixels, and prints its plan.
    """
    read, batched = storage.read, storage.batched
    if args.cache == "none":
        return {"load": counted(storage)}
    maxbytes = common.parse_budget(args.maxbytes, training_bytes)
    if args.cache == "auto":
        return {"load": read, "batched": batched, "maxbytes": maxbytes, "verbose": True}
    if args.remote:
        return kept(storage, [open_shared(None, maxbytes), args.remote])
    if args.cache == "lru":
        return {"load": bytecache.lru_cache(maxsize=None, maxbytes=maxbytes, batched=batched)(read)}
    return {"load": bytecache.fill_once(maxbytes=maxbytes, batched=batched)(read)}


def of_all_processes(storage: common.Storage, args: argparse.Namespace, training_bytes: int) -> dict[str, Any]:
    """Return how ``train_torch`` reads: through one cache for all processes of the machine, or of several."""
    read, fill_once = storage.read, functools.partial(bytecache.fill_once, batched=storage.batched)
    maxbytes = common.parse_budget(args.maxbytes, training_bytes)
    if args.cache == "auto":
        return {"load": read, "batched": storage.batched, "maxbytes": maxbytes, "verbose": True}
    if args.cache == "none":
        return {"load": fill_once(0, shared=True, maxbytes=1)(read)}  # stores nothing but still counts
    if args.remote:
        return kept(storage, [open_shared(args.store, maxbytes), args.remote])
    if args.store:
        return kept(storage, open_shared(args.store, maxbytes))
    return {"load": fill_once(shared=True, maxbytes=maxbytes)(read)}


def open_shared(folder: Path | None, maxbytes: int | str) -> bytecache.SharedStore:
    """Return the store of this machine that is in a folder, or this run's."""
    try:
        return bytecache.SharedStore(folder, maxbytes=maxbytes)
    except (OSError, ValueError) as error:
        raise UserError(f"the cache cannot be opened: {error}; --store must be a folder on a local disk") from None


def kept(storage: common.Storage, store: Any) -> dict[str, Any]:
    """Return how to read through what outlives the run: a later one may find other images under the same names."""
    cached = bytecache.fill_once(store=store, key=bytecache.file_key, version="JPEG", batched=storage.batched)
    return {"load": cached(storage.read)}


def budget(read: Any) -> int:
    """Return the most bytes that a cached read function stores on this machine; 0 if it stores none."""
    stats = read.cache_stats()
    return (stats.tiers[0] if stats.tiers else stats).maxbytes or 0


def counted(storage: common.Storage) -> Any:
    """Return the read function with counters and without a cache."""
    return bytecache.fill_once(maxsize=0, batched=storage.batched)(storage.read)
