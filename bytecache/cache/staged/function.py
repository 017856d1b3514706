"""What ``staged`` returns: a pipeline as one cached function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import Any, TypeAlias
from weakref import WeakMethod

from ...keys.encoding import make_digests
from ...keys.fingerprint import fingerprint
from ...planning.cost_model import check_costs
from ...planning.plan import Plan, make_plan
from ...planning.workload import saved_seconds, split
from ...stores.base import MISSING, Store
from ...stores.memory import FillOncePartition
from ...stores.values import sizeof
from ...system.arguments import check_threads
from ..bulk import READ_THREADS
from ..cached_object import make_uncached
from ..hit_path import make_wrapper
from ..memory_function import make_key_of
from ..methods import METHODS, CacheMethods
from ..read_through import ReadThrough
from ..stats import CacheStats, StageStats
from .board import Board
from .chain import Chain
from .measurements import Measurements
from .memory_partition import StagedMemoryPartition
from .partition import StagedPartition, StagedStorePartition
from .pipeline import Pipeline
from .placement import Placement
from .residents import Residents
from .seen import Seen


class StagedCall(functools.partial[Any]):
    """A pipeline whose items are kept after one of its stages each; see :func:`bytecache.staged`.

    A partial, since nothing else but a function is called as fast. It pickles as its arguments: a copy in memory starts
    empty, one over a store finds the same values.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Chain
    uncached: Any
    _arguments: tuple[Any, ...]

    def __new__(cls, *arguments: Any) -> StagedCall:
        methods = StagedMethods(*arguments)
        self = super().__new__(cls, methods.call)
        chain = methods.chain
        self.__name__, self.__qualname__, self.__module__ = chain.__name__, chain.__qualname__, chain.__module__
        self.__wrapped__, self.uncached, self._arguments = chain, methods.uncached, arguments
        for name in (*METHODS, "batches_ahead", "plan"):
            setattr(self, name, getattr(methods, name))
        return self

    def __init__(self, *arguments: Any) -> None:
        """Take the arguments of StagedMethods."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return StagedCall, self._arguments

    def __copy__(self) -> StagedCall:
        return self

    def __deepcopy__(self, memo: Any) -> StagedCall:
        return self

    def __repr__(self) -> str:
        return f"<{self.__qualname__}>"


class StagedMethods(CacheMethods):
    """The methods of a staged cache, and `call`, which answers its calls.

    store: None for this process's memory, with `maxbytes`. items: how many there are, if that is known. cost: see
    check_costs. version: as of fill_once.
    """

    __slots__ = (
        "__weakref__", "_batched", "_measured", "_partition", "_pipeline", "_placement", "call", "chain", "uncached",
    )  # fmt: skip

    def __init__(
        self,
        stages: tuple[Callable[[Any], Any], ...],
        batched: bool,
        maxbytes: int | None,
        store: Store | None,
        items: int | None,
        cost: Any,
        version: str | int | None,
    ) -> None:
        chain = self.chain = Chain(stages, batched)
        self._batched = batched
        self._measured = Measurements(len(stages), check_costs(cost, len(stages)))
        if store is None:
            partition, key_of, exchange = _memory_parts(len(stages), maxbytes)
        else:
            partition, key_of, exchange = _store_parts(store, chain, *identify(stages, batched, version))
        self._partition, seen = partition, Seen()
        mine = seen if store is None else None
        self._placement = Placement(self._measured, items, partition, mine, exchange)
        choose = partial(self._placement.choose, has_room=self._partition.has_room)
        self._pipeline = Pipeline(stages, batched, key_of, self._partition.levels, self._measured, seen, choose)
        self._pipeline.__module__, self._pipeline.__qualname__ = chain.__module__, chain.__qualname__
        cache = ReadThrough(self._pipeline, self._partition, batched=True)
        cache.advice.items = items or 0
        cache.follow_after_fork = WeakMethod(self._after_fork_in_child)
        super().__init__(cache, key_of, cache.miss, False, store)
        self.uncached = make_uncached(chain, chain.__module__, chain.__qualname__, make_wrapper, batched)
        make_call = _memory_call if store is None else _store_call
        self.call = make_call(self._partition.last, key_of, cache.miss)
        self.call.__qualname__ = chain.__qualname__

    def _after_fork_in_child(self) -> None:
        self._placement.after_fork_in_child()
        self._pipeline.after_fork_in_child()

    def map(
        self, keys: Iterable[Any], threads: int | None = None, *, return_exceptions: bool = False, copy: bool = True
    ) -> list[Any]:
        """Return ``load(key)`` for each of `keys`, in order, see CachedFunction.

        threads: on how many the stages run, of which as many compute as there are processors; None: on as many as it
        takes to keep these busy while others read.
        """
        threads, keys = _checked(threads), list(keys)
        with self._pipeline.limited(threads), self._pipeline.mapping(len(keys)):
            return super().map(keys, threads, return_exceptions=return_exceptions, copy=copy)

    def warm(
        self,
        keys: Iterable[Any],
        threads: int | None = None,
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> CacheStats:
        """Read `keys` ahead, see CachedFunction; threads is as for map, if the first stage is not batched."""
        if batch_size is not None and not self._batched:
            raise TypeError("batch_size is for functions with batched=True, which take several keys")
        if self._batched:
            super().warm(keys, threads, batch_size=batch_size, progress=progress)
        else:
            with self._pipeline.limited(_checked(threads)):
                super().warm(keys, 1, progress=progress)
        return self.cache_stats()

    def cache_stats(self, scope: str = "process") -> CacheStats:
        """Return all counters, see CacheStats; `stages` has those of each stage."""
        stats = super().cache_stats(scope)
        snapshots = [level.snapshot(scope) for level in self._partition.levels]
        failed = sum(snapshot.counts.errors for snapshot in snapshots[:-1])  # before the last stage could run
        stages = []
        for name, snapshot, cpu_s, wait_s in zip(self.chain.names, snapshots, *self._measured.seconds(), strict=True):
            counts, before = snapshot.counts, failed if snapshot is snapshots[-1] else 0
            stages.append(
                StageStats(
                    name=name,
                    runs=counts.misses - before,
                    hits=counts.hits,
                    errors=counts.errors - before,
                    cpu_s=cpu_s,
                    wait_s=wait_s,
                    currsize=snapshot.currsize,
                    currbytes=snapshot.currbytes,
                )
            )
        return replace(stats, stages=tuple(stages))

    def batches_ahead(self, n: int) -> int:
        """Return how many batches of n keys must be under way beyond one for the processors not to wait for reads."""
        return self._pipeline.batches_ahead(n)

    def plan(self) -> Plan:
        """Return what is kept and what that saves, see Plan; raise RuntimeError before a first item was measured."""
        self._placement.ask_others()
        if not self._measured.items:
            raise RuntimeError(
                f"{self.chain.__qualname__} has measured nothing yet: plan() is for after some calls, such as one epoch"
            )
        stats, costs, known = self.cache_stats("all"), self._measured.costs(), self._partition.kept()
        workload = self._placement.workload(costs, max(self._placement.items or stats.misses, 1))
        kept = [(stage.currsize, stage.currbytes or 0) for stage in stats.stages]
        saved = None
        if known is not None:
            computing, reading = split(*costs.of_sample(known[0]))
            saved = saved_seconds(computing, known[1]), saved_seconds(reading, known[1])
        return make_plan(workload, self.chain.names, self._partition.maxbytes, kept, saved)

    def cache_keys(self) -> list[Any]:
        """Return the keys of all values, see CachedFunction; raise TypeError if they are in a store."""
        return self._partition.keys()

    def _key_of_call(self, args: tuple[Any, ...], kwds: dict[str, Any]) -> Hashable:
        if kwds or len(args) != 1:
            raise TypeError(f"{self.chain.__qualname__} takes one key, by position, got {args!r} and {kwds!r}")
        return self._key_of(*args)


def _checked(threads: int | None) -> int | None:
    return None if threads is None else check_threads(threads, READ_THREADS)


def identify(stages: tuple[Callable[[Any], Any], ...], batched: bool, version: str | int | None) -> tuple[bytes, str]:
    """Return the bytes that stand for a pipeline in every process, and its name for people; see fingerprint."""
    found = [fingerprint(stage, version, batched and n == 0) for n, stage in enumerate(stages)]
    identity = blake2b(b"".join(part for part, _ in found), digest_size=16, person=b"staged").digest()
    return identity, f"{found[0][1].rpartition('.')[0]}.{Chain(stages, batched).__qualname__}"


# Where the values are kept, what makes keys, and what tells other processes of what was measured, if there may be any.
Parts: TypeAlias = tuple[StagedPartition, Callable[[Any], Hashable], Callable[[Measurements], None] | None]


def _memory_parts(stages: int, maxbytes: int | None) -> Parts:
    first = FillOncePartition(None, maxbytes, sizeof)
    levels = [first, *(FillOncePartition(None, maxbytes, sizeof, beside=first) for _ in range(1, stages))]
    return StagedMemoryPartition(levels, Residents(levels)), make_key_of(str, False, None), None


def _store_parts(store: Store, chain: Chain, identity: bytes, name: str) -> Parts:
    _, key_of = make_digests(identity, False, None)
    names = [*(f"{name}: {stage}" for stage in chain.names), f"{name}: costs"]
    identities = [identity[:-1] + bytes([identity[-1] ^ (number + 1)]) for number in range(len(names))]
    *levels, board = [store.partition(one, name, None) for one, name in zip(identities, names, strict=True)]
    return StagedStorePartition(levels, store), key_of, Board(board).exchange


def _memory_call(last: Any, key_of: Callable[[Any], Hashable], miss: Callable[..., Any]) -> Callable[[Any], Any]:
    def call(key: Any, /) -> Any:
        cache_key = key if type(key) is str else key_of(key)
        try:
            value = last.entries[cache_key]
        except KeyError:
            pass
        else:
            last.counters.tick()
            return value
        return miss(cache_key, (key,), {})

    return call


def _store_call(last: Any, key_of: Callable[[Any], Hashable], miss: Callable[..., Any]) -> Callable[[Any], Any]:
    get = last.get

    def call(key: Any, /) -> Any:
        digest = key_of(key)
        value = get(digest)
        return miss(digest, (key,), {}) if value is MISSING else value

    return call
