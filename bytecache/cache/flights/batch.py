"""Batched functions: one run for all keys of a batch that nobody else is reading.

A call leads a flight for each such key, and waits for nothing while it does. So two calls whose keys overlap never wait
for each other: what others are reading is waited for afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ...stores.base import MISSING, PutResult
from .leased_flight import run_with_free_leases
from .singleflight import Flight

if TYPE_CHECKING:
    from ..read_through import ReadThrough

Keys = Mapping[Hashable, Any]  # from the key of the cache to that of the function


class SingleCall:
    """A batched function as one of a single key, which raises an exception that is its value."""

    __slots__ = ("_function", "_most")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        parent = getattr(function, "__qualname__", "").rpartition(".")[0]
        self._most = 2 if parent and not parent.endswith("<locals>") else 1  # a method gets its instance too

    def __call__(self, /, *args: Any, **kwds: Any) -> Any:
        """Return the value of the last argument."""
        if kwds or not 1 <= len(args) <= self._most:
            name = getattr(self._function, "__qualname__", repr(self._function))
            got = ", ".join([*map(repr, args), *(f"{key}={value!r}" for key, value in kwds.items())])
            raise TypeError(f"{name} is batched: it is called with one key, by position, or by map; got {name}({got})")
        value = None
        try:
            (value,) = call_with_batch(self._function, args[:-1], [args[-1]])
            if isinstance(value, Exception):
                raise value
            return value
        finally:
            del value  # the exception's traceback keeps this frame alive


def call_with_batch(function: Callable[..., Any], bound: tuple[Any, ...], keys: list[Any]) -> list[Any]:
    """Return the values that a batched function returns for `keys`; raise TypeError or ValueError if it must not."""
    values = function(*bound, keys.copy())
    name = getattr(function, "__qualname__", repr(function))
    if isinstance(values, (str, bytes, Mapping)) or not (hasattr(values, "__len__") and hasattr(values, "__getitem__")):
        raise TypeError(
            f"{name} is batched: it must return a list with a value or an exception for each key of its list, in "
            f"order, got {type(values).__name__}"
        )
    if len(values) != len(keys):
        raise ValueError(
            f"{name} is batched: it must return a value or an exception for each of its {len(keys)} keys, in order, "
            f"got {len(values)}; none of them was stored"
        )
    return list(values)


def read_batch(cache: ReadThrough, bound: tuple[Any, ...], keys: Keys, miss: Callable[..., Any]) -> dict[Hashable, Any]:
    """Return the value of each key, or the exception instead of one.

    bound: what the function gets before its keys. miss: answers a call for one key, as ReadThrough.miss does.
    """
    found: dict[Hashable, Any] = {}
    try:
        while True:
            found |= _BatchFlight(cache, bound, keys).run()
            first, *rest = [key for key in keys if key not in found] or [MISSING]
            if first is MISSING:
                return found.copy()
            try:  # now it may wait; by then the others have often landed too
                found[first] = miss(first, (*bound, keys[first]), {})
            except Exception as exc:
                found[first] = exc
            if not rest:
                return found.copy()
            keys = {key: keys[key] for key in rest}
    finally:
        found.clear()  # the exceptions' tracebacks keep this frame alive


class _BatchFlight:
    """One run of the function, led by this thread, for those of the keys that no other call is reading.

    All flights have one lock, which is released however the run ends.
    """

    def __init__(self, cache: ReadThrough, bound: tuple[Any, ...], keys: Keys) -> None:
        self._cache, self._bound, self._keys = cache, bound, keys
        self._generation, self._counters = cache.partition.generation, cache.partition.counters
        self._flights: dict[Hashable, Flight] = {}  # those that this thread leads

    def run(self) -> dict[Hashable, Any]:
        """Return what the keys that were not taken have brought; raise what is not an Exception."""
        running = threading.Lock()
        with running:
            try:
                for key in self._keys:
                    self._claim(key, running)
                if not self._cache.leased:
                    return self._lead(set())
                leases = {key: self._cache.partition.lease(key, self._generation) for key in self._flights}
                return run_with_free_leases(
                    {key: lease for key, lease in leases.items() if lease is not None}, self._lead
                )
            finally:
                try:
                    self._cache.flights.give_up(self._generation, self._flights)
                except BaseException:  # an interrupt, before it was done
                    self._cache.flights.give_up(self._generation, self._flights)
                    raise

    def _claim(self, key: Hashable, running: threading.Lock) -> None:
        flight = self._flights[key] = self._cache.flights.new(self._generation)  # first: an interrupt may come
        flight.running = running
        if self._cache.once and not self._cache.flights.claim(key, self._generation, flight):
            del self._flights[key]

    def _lead(self, taken: set[Hashable]) -> dict[Hashable, Any]:
        """Land the flights but those of keys that other processes have taken, and return what they brought."""
        self._cache.flights.give_up(self._generation, {key: self._flights[key] for key in taken})
        for key in taken:
            del self._flights[key]
        keys = list(self._flights)
        found = {  # stored between the caller's look-up and this flight
            key: value
            for key, value in zip(keys, self._cache.partition.get_many(keys), strict=True)
            if value is not MISSING
        }
        missing = [key for key in keys if key not in found]
        try:
            if missing:
                found |= self._load(missing)
            self._land(found)
            for key in missing if self._cache.partition.maxsize != 0 else ():
                if not isinstance(found[key], Exception):
                    self._cache.advice.look(key, (*self._bound, self._keys[key]), {})
            return found.copy()
        finally:
            found.clear()  # the exceptions' tracebacks keep this frame alive

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
            values += call_with_batch(function, self._bound, [self._keys[key] for key in keys])
            ended = perf_counter()
            self._store(keys, values)
            errors = sum(isinstance(value, Exception) for value in values)
            return dict(zip(keys, values, strict=True))
        except Exception as exc:
            return dict.fromkeys(keys, exc)
        finally:
            values.clear()  # the exceptions' tracebacks keep this frame alive
            counters.load((ended or perf_counter()) - started, errors)

    def _store(self, keys: list[Hashable], values: list[Any]) -> None:
        """Store the values, but not the exceptions among them; replace each by what put returns, or raises."""
        partition, generation = self._cache.partition, self._generation
        flights = [self._flights[key] for key in keys]
        good = [n for n, value in enumerate(values) if not isinstance(value, Exception)]
        # A flight whose key was discarded meanwhile has another generation.
        wanted = [n for n in good if flights[n].generation == generation]
        results = dict(zip(wanted, partition.put_many([(keys[n], values[n]) for n in wanted], generation), strict=True))
        try:
            for n in good:
                result = results[n] if n in results else partition.put(keys[n], values[n], flights[n].generation)
                if isinstance(result, PutResult):
                    values[n] = result.value
                    if result.stored and flights[n].generation != generation:  # discarded after put had looked
                        partition.discard(keys[n])
                else:
                    values[n] = result
        finally:
            results.clear()  # the exceptions' tracebacks keep this frame alive
