"""How the training set reads, as arguments of its ImageDataset: through the cache that the user chose."""

from __future__ import annotations

import argparse
import functools
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
    if args.cache == "lru":
        return {"load": bytecache.lru_cache(maxsize=None, maxbytes=maxbytes, batched=batched)(read)}
    return {"load": bytecache.fill_once(maxbytes=maxbytes, batched=batched)(read)}


def of_all_processes(storage: common.Storage, args: argparse.Namespace, training_bytes: int) -> dict[str, Any]:
    """Return how ``train_torch`` reads: through one cache for all processes of the machine."""
    read, fill_once = storage.read, functools.partial(bytecache.fill_once, batched=storage.batched)
    maxbytes = common.parse_budget(args.maxbytes, training_bytes)
    if args.cache == "auto":
        return {"load": read, "batched": storage.batched, "maxbytes": maxbytes, "verbose": True}
    try:
        if args.cache == "none":
            return {"load": fill_once(0, shared=True, maxbytes=1)(read)}  # stores nothing but still counts
        if args.store is None:
            return {"load": fill_once(shared=True, maxbytes=maxbytes)(read)}
        store = bytecache.SharedStore(args.store, maxbytes=maxbytes)
    except (OSError, ValueError) as error:
        raise UserError(f"the cache cannot be opened: {error}; --store must be a folder on a local disk") from None
    # A later run may find other images under the same names.
    return {"load": fill_once(store=store, key=bytecache.file_key, version="JPEG")(read)}


def counted(storage: common.Storage) -> Any:
    """Return the read function with counters and without a cache."""
    return bytecache.fill_once(maxsize=0, batched=storage.batched)(storage.read)
