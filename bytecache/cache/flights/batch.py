"""Many keys at once: one run of a batched function for all of them that nobody else is reading.

The thread leads a flight for each of these keys, and waits for nothing while it does. So two calls whose keys overlap
never wait for each other: what others are reading is waited for afterwards.

Where an exception is a value, its traceback keeps the frames alive that it came through, so what refers to exceptions
is cleared there, or each would be a cycle for the collector.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ...stores.base import MISSING, PutResult
from ...system.threads import release_all
from ..batched_function import call_with_batch
from .flight import NO_GENERATION, Flight
from .leased_flight import run_with_free_leases

if TYPE_CHECKING:
    from threading import Lock

    from ..read_through import ReadThrough

Arguments = Mapping[Hashable, Any]  # of calls, by the key of the cache


def read_batch(
    cache: ReadThrough, bound: tuple[Any, ...], arguments: Arguments, miss: Callable[..., Any]
) -> dict[Hashable, Any]:
    """Return the value of each key, or the exception instead of one.

    bound: what the function gets before its keys. miss: answers a call for one key, as ReadThrough.miss does.
    """
    found: dict[Hashable, Any] = {}
    try:
        while True:
            batch = _BatchFlight(cache, bound, arguments)
            found |= batch.run()
            found |= batch.follow_others()
            first, *rest = [key for key in arguments if key not in found] or [MISSING]
            if first is not MISSING:  # another process reads it, or its leader was interrupted
                try:
                    found[first] = miss(first, (*bound, arguments[first]), {})
                except Exception as exc:
                    found[first] = exc
            if not rest:
                return found.copy()
            arguments = {key: arguments[key] for key in rest}
    finally:
        found.clear()


class _BatchFlight:
    """One run of the function, led by this thread, for those of the keys that no other call is reading."""

    def __init__(self, cache: ReadThrough, bound: tuple[Any, ...], arguments: Arguments) -> None:
        self._cache, self._bound, self._arguments = cache, bound, arguments
        self._generation, self._counters = cache.partition.generation, cache.partition.counters
        self._flights: dict[Hashable, Flight] = {}  # those that this thread leads
        self._others: dict[Hashable, Flight] = {}  # those of other calls of this process
        self._held: list[list[Lock | None]] = [[None]]  # the locks of the flights, each list for release_all

    def run(self) -> dict[Hashable, Any]:
        """Return what the keys have brought that no other call reads; raise what is not an Exception."""
        try:
            return self._run()
        finally:
            try:
                self._end()
            except BaseException:  # an interrupt, before it was done
                self._end()
                raise

    def _run(self) -> dict[Hashable, Any]:
        partition = self._cache.partition
        try:
            for key in self._arguments:
                self._claim(key)
            if not self._cache.leased:
                return self._lead(set())
            leases = partition.leases(list(self._flights), self._generation)
            return run_with_free_leases({key: one for key, one in leases.items() if one is not None}, self._lead)
        except Exception as exc:  # of a key's __eq__, or of a lease
            self._land(dict.fromkeys(self._flights, exc))
            return dict.fromkeys(self._flights, exc)

    def _claim(self, key: Hashable) -> None:
        flight = self._flights[key] = self._cache.flights.new(self._generation)
        flight.running.acquire()
        self._held[0].append(flight.running)  # before anybody knows the flight: an interrupt may come
        if self._cache.once:
            other = self._cache.flights.claim(key, self._generation, flight)
            if other is not flight:
                self._others[key] = other
                del self._flights[key]

    def _end(self) -> None:
        self._cache.flights.give_up(self._generation, self._flights)
        for locks in self._held:
            release_all(locks)

    def _give_up(self, keys: set[Hashable]) -> None:
        """Give up the flights of keys that other processes have taken: whoever waits for them is to go on."""
        flights = {key: self._flights[key] for key in keys}
        locks = [flight.running for key, flight in self._flights.items() if key not in keys]
        self._held[:] = [None, *locks], [None, *(flight.running for flight in flights.values())]
        for key in keys:
            del self._flights[key]
        self._cache.flights.give_up(self._generation, flights)
        release_all(self._held[1])

    def _lead(self, taken: set[Hashable]) -> dict[Hashable, Any]:
        """Land the flights but those of keys that other processes have taken, and return what they brought."""
        if taken:
            self._give_up(taken)
        keys = list(self._flights)
        found = dict(zip(keys, self._cache.partition.get_many(keys), strict=True))
        missing = [key for key in keys if found[key] is MISSING]  # not stored since the caller's look-up either
        try:
            if missing:
                found |= self._load(missing)
            self._land(found)
            for key in missing if self._cache.partition.maxsize != 0 else ():
                if not isinstance(found[key], Exception):
                    self._cache.advice.look(key, (*self._bound, self._arguments[key]), {})
            return found.copy()
        finally:
            found.clear()

    def _land(self, found: dict[Hashable, Any]) -> None:
        for key, value in found.items():
            flight = self._flights[key]
            flight.set_exception(value) if isinstance(value, Exception) else flight.set_result(value)

    def _load(self, keys: list[Hashable]) -> dict[Hashable, Any]:
        """Run the function, and store and count what it returns."""
        counters, function = self._counters, self._cache.batched
        assert function is not None
        counters.miss(len(keys))
        ended, errors, started = 0.0, len(keys), perf_counter()
        values: list[Any] = []
        try:
            values += call_with_batch(function, self._bound, [self._arguments[key] for key in keys])
            ended, errors = perf_counter(), 0  # an interrupt in put is no error
            self._store(keys, values)
            errors = sum(isinstance(value, Exception) for value in values)
            return dict(zip(keys, values, strict=True))
        except Exception as exc:
            errors = len(keys)
            return dict.fromkeys(keys, exc)
        finally:
            values.clear()
            counters.load((ended or perf_counter()) - started, errors)

    def _store(self, keys: list[Hashable], values: list[Any]) -> None:
        """Store the values, but not the exceptions among them; replace each by what put returns, or raises."""
        wanted: list[int] = []
        discarded: list[int] = []
        for n, value in enumerate(values):
            if not isinstance(value, Exception):
                (wanted if self._flights[keys[n]].generation == self._generation else discarded).append(n)
        value = None
        for numbers, generation in (wanted, self._generation), (discarded, NO_GENERATION):
            if numbers:
                self._put(keys, values, numbers, generation)

    def _put(self, keys: list[Hashable], values: list[Any], numbers: list[int], generation: int) -> None:
        partition = self._cache.partition
        results = partition.put_many([(keys[n], values[n]) for n in numbers], generation)
        try:
            for position, n in enumerate(numbers):
                values[n], stored = _unpacked(results[position])
                # Discarded, perhaps after put had looked.
                if stored and self._flights[keys[n]].generation != self._generation:
                    partition.discard(keys[n])
        finally:
            results.clear()

    def follow_others(self) -> dict[Hashable, Any]:
        """Return what other calls' flights bring, or the exceptions, for those that bring any."""
        found: dict[Hashable, Any] = {}
        try:
            while self._others:
                key = next(iter(self._others))
                arguments = (*self._bound, self._arguments[key])
                try:
                    found[key] = self._cache.flights.follow(self._others.pop(key), self._counters, arguments, {})
                except Exception as exc:
                    found[key] = exc
            return {key: value for key, value in found.items() if value is not MISSING}
        finally:
            found.clear()


def _unpacked(result: PutResult | Exception) -> tuple[Any, bool | None]:
    return (result, None) if isinstance(result, Exception) else result
