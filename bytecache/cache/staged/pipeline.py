"""One run of a pipeline for many keys: from the last stage that has a value, or from the first."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

from ...stores.base import MISSING, Partition
from ...stores.values import make_read_only, sizeof
from ...system.threads import cpu_count, run_on_threads
from ..batched_function import call_with_batch
from .measurements import Measurements

READ_THREADS = min(32, cpu_count() + 4)  # reading waits more than it computes
Choose = Callable[[Sequence[float], int], int]


class Run:
    """What a run for one key has brought, for the partition to store.

    value: of the last stage. at: the stage after which the key had a value before, -1 if none. sizes: the bytes after
    each stage from there on, or from the first. stage, kept: after which stage the key is to be kept, and the value.
    """

    __slots__ = ("at", "kept", "sizes", "stage", "value")

    def __init__(self, at: int, value: Any) -> None:
        self.at = self.stage = at
        self.value = self.kept = value
        self.sizes: list[float] = [] if at < 0 else [sizeof(value)]


class Pipeline:
    """Runs stages for many keys, as a batched function whose values are of the type Run. Safe for threads.

    stages: functions of one argument, each of which takes what the one before returns; batched: whether the first takes
    a list of keys. levels: what is kept after each stage; its last partition is not asked, that was done before.
    choose: from sizes and stage as in Run to the stage after which the item is to be kept. Arrays become read-only
    before the next stage gets them, since they may be kept.
    """

    __qualname__: str

    def __init__(
        self,
        stages: Sequence[Callable[[Any], Any]],
        batched: bool,
        key_of: Callable[[Any], Hashable],
        levels: Sequence[Partition],
        measured: Measurements,
        choose: Choose,
    ) -> None:
        self._stages, self._batched, self._key_of = stages, batched, key_of
        self._levels, self._measured, self._choose = levels, measured, choose

    def __call__(self, keys: list[Any]) -> list[Any]:
        """Return the Run of each key, or the exception that one of its stages has raised."""
        results: list[Any] = [MISSING] * len(keys)
        seconds: list[tuple[list[float], list[float]]] = [([], []) for _ in keys]  # of CPU time and of waiting
        try:
            cache_keys = [self._key_of(key) for key in keys]
            self._find(results, cache_keys)
            self._read(results, keys, seconds)
            going_on = [n for n, run in enumerate(results) if isinstance(run, Run)]
            work = partial(self._finish, results, seconds)
            run_on_threads(work, going_on, min(cpu_count(), max(1, len(going_on))))
            return results.copy()
        finally:
            results.clear()  # the exceptions' tracebacks keep this frame alive

    def _find(self, results: list[Any], cache_keys: list[Hashable]) -> None:
        """Replace each MISSING for whose key a stage has a value, the last ones first."""
        for stage in range(len(self._stages) - 2, -1, -1):
            missing = [n for n, run in enumerate(results) if run is MISSING]
            values = self._levels[stage].get_many([cache_keys[n] for n in missing], copy=False) if missing else []
            for n, value in zip(missing, values, strict=True):
                if value is not MISSING:
                    results[n] = Run(stage, value)

    def _read(self, results: list[Any], keys: list[Any], seconds: list[tuple[list[float], list[float]]]) -> None:
        """Run the first stage for each MISSING."""
        missing = [n for n, run in enumerate(results) if run is MISSING]
        if not missing:
            return
        self._levels[0].counters.miss(len(missing))
        if self._batched:
            self._read_batch(results, keys, seconds, missing)
            return

        def read(n: int) -> None:
            results[n] = self._run(0, keys[n], seconds[n])

        run_on_threads(read, missing, min(READ_THREADS, len(missing)))

    def _read_batch(
        self, results: list[Any], keys: list[Any], seconds: list[tuple[list[float], list[float]]], missing: list[int]
    ) -> None:
        values: list[Any] = []
        try:
            with self._measured.timed(0) as took:
                try:
                    values += call_with_batch(self._stages[0], (), [keys[n] for n in missing])
                except Exception as exc:
                    values += [exc] * len(missing)
            errors = sum(isinstance(value, Exception) for value in values)
            self._levels[0].counters.load(sum(took), errors)
            for n, value in zip(missing, values, strict=True):
                results[n] = value if isinstance(value, Exception) else self._begun(value)
                for column, total in zip(seconds[n], took, strict=True):
                    column.append(total / len(missing))
        finally:
            values.clear()

    def _begun(self, value: Any) -> Run:
        run = Run(-1, value)
        run.sizes.append(sizeof(value))
        return run

    def _run(self, stage: int, argument: Any, seconds: tuple[list[float], list[float]]) -> Any:
        """Run one stage for one item; return a Run after the first stage, and a value after the others."""
        error = 1
        try:
            with self._measured.timed(stage) as took:
                value = self._stages[stage](argument)
            error = 0
        except Exception as exc:
            return exc
        finally:
            if stage < len(self._stages) - 1:  # the runs of the last one are counted as the calls' misses
                self._levels[stage].counters.load(sum(took), error)
            for column, total in zip(seconds, took, strict=True):
                column.append(total)
        return self._begun(value) if stage == 0 else value

    def _finish(
        self,
        results: list[Any],
        seconds: list[tuple[list[float], list[float]]],
        n: int,
    ) -> None:
        """Run the stages that are left for one item, and choose after which one it is kept."""
        run, last = results[n], len(self._stages) - 1
        values = [run.value]
        for stage in range(max(run.at, 0) + 1, last + 1):
            make_read_only(run.value)
            if stage < last:
                self._levels[stage].counters.miss()
            value = self._run(stage, run.value, seconds[n])
            if isinstance(value, Exception):
                results[n] = value
                return
            run.value = value
            values.append(value)
            run.sizes.append(sizeof(value))
        self._note(run, *seconds[n])
        run.stage = self._choose(run.sizes, run.at)
        run.kept = values[run.stage - max(run.at, 0)] if run.stage > run.at else None

    def _note(self, run: Run, cpu_s: list[float], wait_s: list[float]) -> None:
        before = run.sizes[:-1] if run.at >= 0 else [0.0, *run.sizes[:-1]]
        after, first = (run.sizes[1:], run.at + 1) if run.at >= 0 else (run.sizes, 0)
        for k, (taken, returned, cpu, wait) in enumerate(zip(before, after, cpu_s, wait_s, strict=True), first):
            self._measured.note_run(k, taken + returned, cpu, wait)
        if run.at < 0:
            self._measured.note_item(tuple(run.sizes), tuple(cpu_s), tuple(wait_s))
