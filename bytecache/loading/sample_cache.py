"""The cache that a dataset makes itself: each sample is kept as it was read, or decoded and resized."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from ..cache.staged.function import StagedCall, identify
from ..cache.wrapping import check_function, check_one_budget, check_store
from ..images.crops import Fit
from ..keys.encoding import encode_key
from ..stores.base import Store
from ..stores.shared.store import SharedStore
from ..stores.tiered.store import Stores
from ..system.byte_sizes import parse_size
from .samples import SampleLoader

_SAME_PIXELS = 1  # a kept store's pixels are those of this number: another one where decoding or resizing changes them
_PATHS = 1024  # of a dataset's that tell it from others


class CacheOptions(NamedTuple):
    """How a dataset caches what its `load` returns; no cache of its own without `maxbytes` and `store`.

    maxbytes, store: the budget, or the store that has one. shared: whether all processes have one cache; None: if they
    can. batched: whether `load` takes a list of paths.
    """

    maxbytes: int | str | None = None
    store: Stores | None = None
    shared: bool | None = None
    batched: bool = False


def with_cache(samples: SampleLoader, paths: Sequence[Any], options: CacheOptions) -> SampleLoader:
    """Return a loader of the same samples, whose function is a ``staged`` one; without a budget `samples` as it is.

    Raises TypeError if `load` is cached already, for options that contradict each other, and if all processes must
    share what cannot be shared; ValueError for an invalid budget.
    """
    if not _asks_for_cache(options):
        return samples
    load = samples.function
    check_function(load, "load to be a read function")
    if hasattr(load, "cache_stats"):
        raise TypeError(
            "load is cached already, and maxbytes= and store= would keep its values twice: pass the function without "
            f"its cache, or leave them out, got {load!r}"
        )
    # What is drawn anew for each epoch is cut out of the file, of which only a part is decoded, often scaled down.
    stages = (load,) if samples.crops_at_random else (load, DecodeStage(samples.fit, samples.masks, samples.options))
    store, budget = check_store(options.store), None
    if options.maxbytes is not None:
        budget = parse_size(options.maxbytes)
        store = None if options.shared is False else _open_store(stages, paths, options, budget)
    call = StagedCall(stages, options.batched, budget if store is None else None, store, len(paths), None, None)
    return samples.reading_by(call)


def _asks_for_cache(options: CacheOptions) -> bool:
    maxbytes, store, shared, batched = options
    if maxbytes is None and store is None:
        if shared is not None or batched:
            raise TypeError(
                "shared= and batched= are for the cache that a dataset makes itself: give its budget as maxbytes= with "
                f"them, or let load have them, got shared={shared!r}, batched={batched!r}"
            )
        return False
    check_one_budget(check_store(store), maxbytes)
    return True


def _open_store(stages: tuple[Any, ...], paths: Sequence[Any], options: CacheOptions, budget: int) -> Store | None:
    """Return this run's store for these stages, paths and budget; None if there can be none, and none must be.

    Another dataset has another one: its items are others, and the price of a byte follows from them.
    """
    try:
        hasher = blake2b(identify(stages, options.batched, None)[0], digest_size=8, person=b"dataset")
        hasher.update(repr((len(paths), options.maxbytes)).encode())
        for index in np.linspace(0, len(paths) - 1, min(_PATHS, len(paths)), dtype=np.int64).tolist():
            hasher.update(encode_key(paths[index]))
        return SharedStore.open(None, hasher.hexdigest(), budget)
    except (OSError, TypeError):
        if options.shared:
            raise
        return None


class DecodeStage:
    """A function from what `load` returns to the same, decoded and resized: a picture, or a tuple of pictures.

    Its arguments are as for SampleLoader. Arrays that need no resizing are returned as they are. Raises what decoding
    raises. Picklable. Safe for threads.
    """

    __name__ = "decode"

    def __init__(
        self, fit: Fit | None, masks: Sequence[int], options: dict[str, Any], pixels: int = _SAME_PIXELS
    ) -> None:
        self._arguments = fit, masks, options, pixels
        self._samples = SampleLoader(bytes, fit, masks, **options)

    def __call__(self, sample: Any) -> Any:
        if not isinstance(sample, tuple) and not self._samples.masks:  # the usual sample, which needs no dicts by index
            return self._samples.decode_alone(sample)
        failed: dict[int, Exception] = {}
        columns = self._samples.pictures({0: sample}, failed)
        specs = self._samples.specs(columns, failed)
        if failed:
            raise failed.pop(0)
        pictures = [self._samples.decode_one(column[0], spec[0]) for column, spec in zip(columns, specs, strict=True)]
        return tuple(pictures) if isinstance(sample, tuple) else pictures[0]

    def __reduce__(self) -> Any:
        return DecodeStage, self._arguments


class PlanPrinter:
    """Prints the plan of a staged function once, after the first epoch of n samples, on the first rank of a launcher.

    told: its first element says whether it was printed; other processes may share it. Raises TypeError if the function
    has no plan.
    """

    def __init__(self, function: Any, n: int, told: Any) -> None:
        if not hasattr(function, "plan"):
            raise TypeError(
                "verbose prints the plan of a cache: give the budget as maxbytes=, or a bytecache.staged function as "
                f"load, got load={function!r}"
            )
        self._function, self._n, self._told = function, n, told
        self._before = self._answered()  # a store that is kept also counts earlier runs
        self._told[0] = os.environ.get("RANK", "0") != "0"

    def after_batch(self) -> None:
        """Print the plan if all processes together have had as many samples as an epoch has, and it was not yet."""
        if self._told[0] or self._answered() - self._before < self._n:
            return
        with suppress(RuntimeError):  # this process knows of no costs yet
            print(self._function.plan(), flush=True)
            self._told[0] = True

    def _answered(self) -> int:
        """Return how many calls have ended. Those that read ahead have only begun, and are among hits and misses."""
        stats = self._function.cache_stats("all")
        return int(stats.hits + stats.stored + stats.rejected + stats.errors)
