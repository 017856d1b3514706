"""A pipeline of stages as one cached function, which keeps each item after the stage where its bytes save most."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Any, Protocol

from .cache.cached_function import CachedFunction
from .cache.staged.function import StagedCall, identify
from .cache.wrapping import check_function, check_one_budget, check_store
from .planning.cost_model import check_costs
from .planning.plan import Plan
from .stores.shared.store import SharedStore
from .stores.tiered.store import Stores
from .system.arguments import check_int
from .system.byte_sizes import parse_size


class StagedFunction(CachedFunction[[Any], Any], Protocol):
    """What :func:`staged` returns: a cached function of one key, and its plan."""

    def plan(self) -> Plan:
        """Return what is kept after each stage, what that saves, and what any other choice would.

        From what this process has measured, or was told by others that use the same store. Raises RuntimeError before
        a first item was read.
        """


def staged(
    *stages: Callable[[Any], Any],
    maxbytes: int | str | None = None,
    store: Stores | None = None,
    shared: bool = False,
    items: int | Sized | None = None,
    cost: Sequence[float | Callable[[float], float]] | None = None,
    version: str | int | None = None,
    batched: bool = False,
) -> StagedFunction:
    """Return a function that runs `stages` one after the other, and keeps each item where its bytes save most.

    Each stage is a function of one argument: the first gets the key, such as a path, each other one what the stage
    before has returned. ``load(key)`` returns what the last one returns, such as an array of pixels. An item is kept
    after one stage at most: as encoded bytes, which are small and save the read, or as an array, which is large and
    saves the decoding too, or not at all. What a stage costs is measured while it runs, in seconds of CPU time and of
    waiting, and the best use of the budget is computed from that: see :mod:`bytecache.planning.knapsack`, and
    ``load.plan()`` for the result. No cache of this budget has a shorter epoch, but by a few percent.

    maxbytes: the budget, in this process's memory: bytes, ``"4 GiB"`` or ``"50%"`` of what is available. There, what
    saves less makes room for what saves more. shared: all processes of the run have one cache, of `maxbytes`; store:
    all that use this store have one, and a list of stores is read through in order, see :func:`bytecache.fill_once`. In
    a store nothing is evicted, and the price decides at the door; processes tell each other what they have measured,
    through the store. What it takes to get a byte from the stores after the first is measured on the first values that
    go there, some of which are got again for that: an item is kept after a stage only if that saves more per byte, and
    no value goes to a store that is slower than to read and compute it again. A single store is taken to cost nothing,
    one without `maxbytes` to have no limit. ``plan()`` leaves out what hits take.

    items: all keys that an epoch asks for, or their number. Without it the first epoch keeps items after the stage that
    saves most per byte, and shows the number; in a store, where nothing makes room, that is final. cost: what each
    stage costs, if that is known: seconds, or a function from the bytes of what it returns to seconds; the first stage
    waits, the others compute. batched: the first stage takes a list of keys, see :func:`bytecache.fill_once`. version:
    stands for the code of the stages, as there.

    The function has the methods of every cached function. A hit is a call that did not run the first stage. ``map`` is
    one run for all its keys: the first stage runs on `threads` threads, or once for all if it is batched; meanwhile the
    others run on one thread per processor, in a DataLoader's worker on its share of them. ``cache_stats().stages`` has
    what each stage did. Of simultaneous calls with one key one runs the stages; exceptions are not stored, nor is a
    value that can be used only once. Arrays become read-only before the next stage gets them: a stage must not write
    into its argument. Pickles if the stages do; a copy in memory starts empty.

    Raises TypeError for a stage that is no plain function, for a key that is not hashable (in a store: not made of str,
    bytes, int, float, bool, None, PathLike and tuples), and without a budget; ValueError for an invalid budget or cost.

    >>> load = staged(len, range, maxbytes="1 MiB", items=["two", "three"])
    >>> load("three"), load.cache_info().misses
    (range(0, 5), 1)
    """
    if not stages:
        raise TypeError("staged needs at least one stage, a function from the key to a value")
    for stage in stages:
        _check_stage(stage)
    check_costs(cost, len(stages))
    count = _count(items)
    kept_in = check_store(store)
    check_one_budget(kept_in, maxbytes)
    if kept_in is None and maxbytes is None:
        raise TypeError('staged fills a budget: give one, such as maxbytes="4 GiB"')
    if version is not None and kept_in is None and not shared:
        raise TypeError("version distinguishes values in a shared store: give store= or shared=True with it")
    budget = None if maxbytes is None else parse_size(maxbytes)
    if shared and budget is not None:
        identity = identify(stages, batched, version)[0]
        kept_in, budget = SharedStore.open(None, identity.hex()[:16], budget), None
    cached: Any = StagedCall(stages, batched, budget, kept_in, count, cost, version)
    return cached  # type: ignore[no-any-return]


def _count(items: Any) -> int | None:
    if items is None:
        return None
    if isinstance(items, Sized) and not isinstance(items, (str, bytes)):
        items = len(items)
    return check_int(items, "items", 1)


def _check_stage(stage: Any) -> None:
    check_function(stage, "a stage, a function of one argument")
    if hasattr(stage, "cache_stats"):
        raise TypeError(
            "a stage must not be cached, since its values would be kept twice: give the function itself, "
            f"__wrapped__, instead of {stage!r}"
        )
