"""One run of a pipeline for many keys: from the last stage that has a value, or from the first."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...stores.base import MISSING, Partition
from ...stores.values import check_reusable, make_read_only, sizeof
from ...system.threads import processors, run_on_threads
from ..batched_function import call_with_batch
from ..bulk import READ_THREADS
from .measurements import Measurements
from .places import Places
from .seen import Seen, lot_of

Choose = Callable[[Sequence[float], int, int], int]


class Run:
    """What a run for one key has brought, for the partition to store.

    value: of the last stage that ran. at: the stage after which the key had a value before, -1 if none. sizes: the
    bytes after each stage from there on, or from the first; cpu_s, wait_s: what each stage that ran has taken. stage,
    kept: after which stage the key is to be kept, and the value. lot: of the key, see lot_of.
    """

    __slots__ = ("at", "cpu_s", "kept", "lot", "sizes", "stage", "value", "wait_s")

    def __init__(self, at: int, value: Any) -> None:
        self.at, self.stage, self.lot = at, at, 0
        self.value = self.kept = value
        self.sizes: list[float] = [] if at < 0 else [sizeof(value)]
        self.cpu_s: list[float] = []
        self.wait_s: list[float] = []

    @property
    def next(self) -> int:
        """The stage that is to run next."""
        return max(self.at, 0) + len(self.sizes)

    def add(self, value: Any, cpu_s: float, wait_s: float) -> None:
        """Take what the next stage has returned; raise TypeError if it can be used only once, as it may be kept."""
        check_reusable(value)
        self.value = value
        self.sizes.append(sizeof(value))
        self.cpu_s.append(cpu_s)
        self.wait_s.append(wait_s)


class _OfThread(threading.local):
    """most: the threads that were asked for. is_mapping: whether a call is a part of one for more keys."""

    most: int | None = None
    is_mapping = False


class Pipeline:
    """Runs stages for many keys, as a batched function whose values are of the type Run. Safe for threads.

    stages: functions of one argument, each of which takes what the one before returns; batched: whether the first takes
    a list of keys. levels: what is kept after each stage; its last partition is not asked, that was done before. seen:
    takes note of what is read. choose: from sizes, stage and lot as in Run to the stage after which the item is to be
    kept. Arrays become read-only before the next stage gets them, since they may be kept.
    """

    __qualname__: str

    def __init__(
        self,
        stages: Sequence[Callable[[Any], Any]],
        batched: bool,
        key_of: Callable[[Any], Hashable],
        levels: Sequence[Partition],
        measured: Measurements,
        seen: Seen,
        choose: Choose,
    ) -> None:
        self._stages, self._batched, self._key_of = stages, batched, key_of
        self._levels, self._measured, self._seen, self._choose = levels, measured, seen, choose
        self._of_thread = _OfThread()
        self._made_places: Places | None = None

    @property
    def _places(self) -> Places:
        # Made on use: a worker of a DataLoader does not know its share of the processors before it runs.
        if self._made_places is None:
            self._made_places = Places(processors())
        return self._made_places

    def after_fork_in_child(self) -> None:
        """Forget the places, of which threads of the parent may have some."""
        self._made_places = None

    @contextmanager
    def limited(self, threads: int | None) -> Iterator[None]:
        """Have the calls that this thread makes in the block run stages on so many threads; None: as outside of it."""
        before = self._of_thread.most
        self._of_thread.most = before if threads is None else threads
        try:
            yield
        finally:
            self._of_thread.most = before

    @contextmanager
    def mapping(self, keys: int) -> Iterator[None]:
        """Have the calls that this thread makes in the block be parts of one for so many keys, some of them kept."""
        before, self._of_thread.is_mapping = self._of_thread.is_mapping, True
        try:
            with self._measured.during_call(0 if before else keys):
                yield
        finally:
            self._of_thread.is_mapping = before

    def batches_ahead(self, n: int) -> int:
        """Return how many calls for n keys each must be under way beyond one for the processors not to wait for reads.

        By Little's law: as many as wait while another one is computed, and that one. What is read one by one waits
        within a call already, up to so many at a time.
        """
        waiting = self._places.processors * self._measured.waiting_share()
        return 1 + (math.ceil(waiting) if self._batched else round(waiting / max(1, min(n, READ_THREADS))))

    def __call__(self, keys: list[Any]) -> list[Any]:
        """Return the Run of each key, or the exception that one of its stages has raised."""
        with self._measured.during_call(0 if self._of_thread.is_mapping else len(keys)):
            return self._run_all(keys)

    def _run_all(self, keys: list[Any]) -> list[Any]:
        results: list[Any] = [MISSING] * len(keys)
        try:
            cache_keys = [self._key_of(key) for key in keys]
            self._find(results, cache_keys)
            unread = [n for n, run in enumerate(results) if run is MISSING]
            for n in unread:
                results[n] = Run(-1, keys[n])
            for run, key in zip(results, cache_keys, strict=True):
                run.lot = lot_of(key)
                if run.at < 0:
                    self._seen.add(run.lot)
            if unread and self._batched:
                self._read_batch(results, unread)
            self._finish_all(results, 0 if self._batched else len(unread))
            return results.copy()
        finally:
            results.clear()  # the exceptions' tracebacks keep this frame alive

    def _find(self, results: list[Any], cache_keys: list[Hashable]) -> None:
        """Replace each MISSING for whose key a stage has a value, the last ones first."""
        for stage in range(len(self._stages) - 2, -1, -1):
            missing = [n for n, run in enumerate(results) if run is MISSING]
            values = self._levels[stage].get_many([cache_keys[n] for n in missing]) if missing else []
            for n, value in zip(missing, values, strict=True):
                if value is not MISSING:
                    results[n] = Run(stage, value)

    def _read_batch(self, results: list[Any], unread: list[int]) -> None:
        """Run the first stage once for all these."""
        keys = [results[n].value for n in unread]

        def read(keys: list[Any]) -> list[Any]:
            return call_with_batch(self._stages[0], (), keys)

        values: list[Any] = []
        errors, counted = len(unread), self._levels[0].counters if len(self._stages) > 1 else None
        if counted is not None:
            counted.miss(len(unread))
        try:
            cpu_s = wait_s = 0.0
            try:
                values, cpu_s, wait_s = self._measured.call(0, read, keys)
            except Exception as exc:
                values = [exc] * len(unread)
            for position, n in enumerate(unread):
                results[n] = self._begun(results[n], values[position], cpu_s / len(unread), wait_s / len(unread))
            errors = sum(isinstance(results[n], Exception) for n in unread)
        finally:
            values.clear()
            if counted is not None:
                counted.load(0.0, errors)

    def _begun(self, run: Run, value: Any, cpu_s: float, wait_s: float) -> Any:
        if isinstance(value, Exception):
            return value
        try:
            run.add(value, cpu_s, wait_s)
        except TypeError as exc:
            return exc
        return run

    def _finish_all(self, results: list[Any], unread: int) -> None:
        """Run the stages that are left, for each Run. unread: how many of these have to be read, each by itself.

        While some threads read, as many as there are processors compute. By itself there are no more than it takes to
        keep these busy, since others would be in their way.
        """
        runs = [n for n, run in enumerate(results) if isinstance(run, Run)]
        computing = self._places.processors
        asked, threads = self._of_thread.most, min(len(runs), max(unread, computing))
        if asked is not None:
            threads = min(threads, asked)
        elif threads > computing:
            useful = int(computing * (1 + self._measured.waiting_share()))
            threads = min(threads, max(computing, min(READ_THREADS, useful)))

        def work(n: int) -> None:
            try:
                if not results[n].next:
                    self._run(results[n])
                if threads > computing:
                    with self._places.taken():
                        values = self._finish(results[n])
                else:
                    values = self._finish(results[n])
                self._settle(results[n], values)
            except Exception as exc:
                results[n] = exc

        if threads > computing:
            run_on_threads(work, runs, threads)
        elif threads > 1:
            self._places.run(work, runs, threads)
        else:
            for n in runs:
                work(n)

    def _run(self, run: Run) -> None:
        """Run the next stage for one item, and count it: a run of the last one is counted as the call's miss."""
        stage = run.next
        if stage == len(self._stages) - 1:
            return run.add(*self._measured.call(stage, self._stages[stage], run.value))
        counters, failed = self._levels[stage].counters, True
        counters.miss()
        try:
            run.add(*self._measured.call(stage, self._stages[stage], run.value))
            failed = False
        finally:
            if failed:
                counters.load(0.0, 1)

    def _finish(self, run: Run) -> list[Any]:
        """Run the stages that are left for one item; return what can be kept, from ``run.at`` on."""
        values = [run.value] if run.sizes else []
        while run.next < len(self._stages):
            make_read_only(run.value)
            self._run(run)
            values.append(run.value)
        return values

    def _settle(self, run: Run, values: list[Any]) -> None:
        """Choose after which stage an item is kept, of whose values there are these."""
        self._measured.note(run.at, run.sizes, run.cpu_s, run.wait_s)
        run.stage = self._choose(run.sizes, run.at, run.lot)
        run.kept = values[run.stage - max(run.at, 0)] if run.stage > run.at else None
