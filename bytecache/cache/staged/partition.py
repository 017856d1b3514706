"""A pipeline's values after each stage, as one partition to the cache."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...planning.workload import Below
from ...stores.base import Counters, Counts, Lease, Partition, PutResult, Snapshot, Store, put_alone
from ...stores.tiered.partition import TieredPartition
from ...stores.tiered.store import TieredStore
from .get_costs import GetCosts
from .pipeline import Run
from .residents import Kept
from .rule import Rule


class Usage(NamedTuple):
    """What a cache has done, in all processes, and has room for.

    reads: runs of the first stage. calls: all of them. again: runs that went on from a value of an earlier stage.
    stored, rejected: how many values were. used, left: bytes. below: tiers under the first; None: not measured yet.
    """

    reads: int
    calls: int
    again: int
    stored: int
    rejected: int
    used: float
    left: float
    below: Sequence[Below] | None = ()


class StagedPartition(Partition):
    """A partition for each stage, of which the last one answers look-ups. What is put is a Run.

    A call that goes on from a value of an earlier stage is a hit. makes_room: whether what is worth less makes room for
    what is worth more.
    """

    makes_room = False

    def __init__(self, levels: Sequence[Partition]) -> None:
        self.levels, self.last = levels, levels[-1]
        self.maxsize, self.lock = None, self.last.lock
        self.has_leases, self.locked_before_fork = self.last.has_leases, self.last.locked_before_fork

    @property
    def maxbytes(self) -> int | None:
        return self.last.maxbytes

    @property
    def currbytes(self) -> int | None:
        return sum(level.currbytes or 0 for level in self.levels)

    @property
    def counters(self) -> Counters:
        return self.last.counters

    @property
    def generation(self) -> int:
        return self.last.generation

    @property
    def full(self) -> bool:
        used = [level for level in self.levels if len(level)]
        return bool(used) and all(level.full for level in used)

    def __len__(self) -> int:
        return sum(map(len, self.levels))

    def __contains__(self, key: Any) -> bool:
        return any(key in level for level in self.levels)

    def why_nothing_fits(self) -> str:
        return self.last.why_nothing_fits()

    def get(self, key: Any, copy: bool = True) -> Any:
        return self.last.get(key, copy)

    def get_many(self, keys: Sequence[Any], copy: bool = True) -> list[Any]:
        return self.last.get_many(keys, copy)

    def put(self, key: Any, value: Run, generation: int) -> PutResult:
        return put_alone(self, key, value, generation)

    def put_many(self, items: Iterable[tuple[Any, Run]], generation: int) -> list[PutResult | Exception]:
        """Store each item after the stage that its Run says, and remove it after the one before."""
        runs = list(items)
        results: list[PutResult | Exception] = [PutResult(run.value, None) for _, run in runs]
        # Before the look at the generation: a clear changes that of the last one first.
        generations = [level.generation for level in self.levels]
        if self.last.generation != generation:
            return results
        rejected = [n for n, (_, run) in enumerate(runs) if run.stage < 0]
        for n in rejected:
            results[n] = PutResult(runs[n][1].value, False)
        if rejected:
            self.counters.reject(len(rejected))
        for stage, level in enumerate(self.levels):
            moved = [n for n, (_, run) in enumerate(runs) if run.stage == stage > run.at]
            if moved:
                put = self.put_level(stage, [runs[n] for n in moved], generations)
                for n, result in zip(moved, put, strict=True):
                    results[n] = self._result(level, runs[n][1], result)
        return results

    def _result(self, level: Partition, run: Run, result: PutResult | Exception) -> PutResult | Exception:
        if isinstance(result, Exception) or level is self.last:
            return result
        return PutResult(run.value, result.stored)

    def put_level(
        self, stage: int, runs: list[tuple[Any, Run]], generations: Sequence[int]
    ) -> list[PutResult | Exception]:
        """Store what is kept after one stage, and remove what it replaces. generations: of the levels."""
        results = self.levels[stage].put_many([(key, run.kept) for key, run in runs], generations[stage])
        for (key, run), result in zip(runs, results, strict=True):
            if run.at >= 0 and not isinstance(result, Exception) and result.stored:
                self.levels[run.at].discard(key)
        return results

    def has_room(self, nbytes: float, freed: float, density: float, rule: Rule) -> bool:
        """Return whether a value of so many bytes fits that saves so many seconds per byte by this rule.

        freed: the bytes of the value that it replaces.
        """
        raise NotImplementedError

    @property
    def left(self) -> float:
        """The bytes that are left of the budget."""
        raise NotImplementedError

    def usage(self) -> Usage:
        """Return what was done since the last clear, and how many bytes are used and left."""
        levels = [level.snapshot("all") for level in self.levels]
        counts, calls = _together(levels), levels[-1].counts.hits + levels[-1].counts.misses
        again = counts.hits - levels[-1].counts.hits
        return Usage(counts.misses, calls, again, counts.stored, counts.rejected, self.currbytes or 0, self.left)

    def use_price(self, price: float) -> None:  # noqa: B027
        """Take note of the seconds that a byte of what is kept must save by now."""

    def kept(self) -> Kept | None:
        """Return the bytes after each stage of what is kept, and the stage, if each item of it is known."""
        return None

    def discard(self, key: Any) -> bool:
        return any([level.discard(key) for level in self.levels])

    def keys(self) -> list[Hashable]:
        return [key for level in self.levels for key in level.keys()]

    def lease(self, key: Any, generation: int) -> Lease | None:
        return self.last.lease(key, generation)

    def snapshot(self, scope: str) -> Snapshot:
        levels = [level.snapshot(scope) for level in self.levels]
        currsize, currbytes = sum(level.currsize for level in levels), sum(level.currbytes or 0 for level in levels)
        return Snapshot(_together(levels), currsize, currbytes)

    def tiers(self, scope: str) -> list[tuple[str, Snapshot, int | None]]:
        """Return those of all stages together; values of earlier stages that a call went on from are hits too."""
        levels, left = [level.tiers(scope) for level in self.levels], self.snapshot(scope).counts.misses
        found = []
        for tiers in reversed(list(zip(*levels, strict=True))):
            name, state, maxbytes = _tier_together(tiers)
            found.append((name, state._replace(counts=state.counts._replace(misses=left)), maxbytes))
            left += state.counts.hits
        return found[::-1]

    def servers(self) -> Mapping[str, str]:
        return self.last.servers()

    def clear(self) -> None:
        for level in reversed(self.levels):
            level.clear()

    def after_fork_in_child(self) -> None:
        for level in self.levels:
            level.after_fork_in_child()
        self.lock = self.last.lock


def _together(levels: Sequence[Snapshot]) -> Counts:
    """Return the counts of calls: those of the last level, but for its misses that went on from an earlier one."""
    *before, last = (level.counts for level in levels)
    again = sum(counts.hits for counts in before)
    return Counts(
        hits=last.hits + again,
        misses=last.misses - again,
        errors=last.errors,
        stored=sum(level.counts.stored for level in levels),
        rejected=sum(level.counts.rejected for level in levels),
        evicted=sum(level.counts.evicted for level in levels),
        load_s=last.load_s,
        lookup_s=sum(level.counts.lookup_s for level in levels),
    )


def _tier_together(levels: Sequence[tuple[str, Snapshot, int | None]]) -> tuple[str, Snapshot, int | None]:
    """Return one tier's name and budget, and its states at all stages together, as far as tiers have them."""
    (name, _, maxbytes), states = levels[-1], [state for _, state, _ in levels]
    counts = _together(states)._replace(errors=0, load_s=0.0)
    return (
        name,
        Snapshot(counts, sum(one.currsize for one in states), sum(one.currbytes or 0 for one in states)),
        maxbytes,
    )


class StagedStorePartition(StagedPartition):
    """The same in a store, where nothing is evicted, and what is replaced keeps its room until that begins anew."""

    def __init__(self, levels: Sequence[Partition], store: Store) -> None:
        super().__init__(levels)
        self._stores = store.stores if isinstance(store, TieredStore) else (store,)
        self._lowest = len(self._stores) - 1  # of the tiers that take values
        self._costs = GetCosts(len(self._stores))

    def put_level(
        self, stage: int, runs: list[tuple[Any, Run]], generations: Sequence[int]
    ) -> list[PutResult | Exception]:
        results = super().put_level(stage, runs, generations)
        level = self.levels[stage]
        if isinstance(level, TieredPartition):
            pairs = zip(runs, results, strict=True)
            stored = [one for one, result in pairs if not isinstance(result, Exception) and result.stored]
            self._costs.note(level.levels, [(key, run.sizes[stage - max(run.at, 0)]) for key, run in stored])
        return results

    def has_room(self, nbytes: float, freed: float, density: float, rule: Rule) -> bool:
        return nbytes <= self.left

    @property
    def left(self) -> float:
        rooms = [(store.maxbytes, store.currbytes) for store in self._stores[: self._lowest + 1]]
        return sum(float("inf") if most is None or used is None else most - used for most, used in rooms)

    def usage(self) -> Usage:
        """Return the same, and the tiers under the first."""
        below, above = list[Below](), 0.0
        for store, get_s in zip(self._stores, self._costs.per_byte(), strict=True):
            below.append(Below(above, get_s))
            above += float("inf") if store.maxbytes is None else store.maxbytes
        return super().usage()._replace(below=None if self._costs.is_measuring else below[1:])

    def use_price(self, price: float) -> None:
        """Have no value go to a tier from which to get a byte takes longer than it saves."""
        costs = self._costs.per_byte()
        worth_it = [number for number, get_s in enumerate(costs) if not 0 < price < get_s]
        self._lowest = max(worth_it, default=0)
        for level in self.levels:
            if isinstance(level, TieredPartition):
                level.lowest = self._lowest
