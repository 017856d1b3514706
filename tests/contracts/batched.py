"""Functions that take a list of keys, whatever keeps their values: one call per batch, and each key read once."""

from __future__ import annotations

import os
import pickle
import random
import signal
import threading
import weakref
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

import pytest
from helpers.counting import stats_of
from helpers.flights import Gate
from helpers.internals import assert_at_rest, evicts, waiting_threads
from helpers.processes import in_child
from helpers.threads import PATIENCE_S, start, together, until

import bytecache


def text(key: Any) -> bytes:
    return b"<%s>" % str(key).encode()


def batched(decorate: Any, value: Callable[[Any], Any] = text, **options: Any) -> tuple[Any, list[list[Any]]]:
    """Return a cached function of ``value(key)``, or what that raises, and the lists it was called with."""
    calls: list[list[Any]] = []

    @decorate(batched=True, **options)
    def read(keys: list[Any]) -> list[Any]:
        calls.append(list(keys))
        return [outcome(value, key) for key in keys]

    return read, calls


def outcome(value: Callable[[Any], Any], key: Any, keep: bool = False) -> Any:
    """Return the value, or the exception that was raised, with its traceback if that is to be kept."""
    try:
        return value(key)
    except Exception as exc:
        return exc if keep else exc.with_traceback(None)


def bad(key: Any) -> bytes:
    if "bad" in str(key):
        raise LookupError(key)
    return text(key)


class BatchedContract:
    """What ``batched=True`` means; see contracts.calls for how to run it."""

    # One call

    def test_a_batch_is_one_call(self, decorate: Any) -> None:
        """map calls the function once, with what is missing, in order; a key that comes twice is in the list once."""
        f, calls = batched(decorate)
        assert f("b") == text("b")
        assert f.map(["c", "b", "a", "c", "d"]) == [text(key) for key in "cbacd"]
        assert calls == [["b"], ["c", "a", "d"]]
        assert f.map(iter("abcd"), threads=4) == [text(key) for key in "abcd"] and f.map([]) == []
        assert len(calls) == 2
        assert stats_of(f, "hits", "misses", "errors", "stored") == (6, 4, 0, 4)

    def test_seconds_count_once(self, decorate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """load_s is the time of the calls, not of the keys."""
        now = [100.0]
        monkeypatch.setattr("bytecache.cache.flights.batch.perf_counter", lambda: now[0])

        @decorate(batched=True)
        def f(keys: list[str]) -> list[bytes]:
            now[0] += 0.5
            return [text(key) for key in keys]

        f.map("abcde")
        f.map("fg")
        assert f.cache_stats().load_s == 1.0

    def test_the_function_may_change_its_list(self, decorate: Any) -> None:
        """The list is the function's own: what it does with it changes neither keys nor values."""

        @decorate(batched=True)
        def f(keys: list[str]) -> list[bytes]:
            keys.reverse()
            values = [text(key) for key in keys]
            keys.clear()
            return values[::-1]

        assert f.map("abc") == [text(key) for key in "abc"] == [f(key) for key in "abc"]

    def test_any_sequence_will_do(self, decorate: Any) -> None:
        """The values may come in a list or a tuple."""
        f = decorate(batched=True)(lambda keys: tuple(map(text, keys)))
        assert f.map("ab") == [text("a"), text("b")] and f("c") == text("c")

    def test_a_call_takes_one_key(self, decorate: Any) -> None:
        """More than one argument, none, or one by name is a TypeError that shows the call, and nothing is read."""
        f, calls = batched(decorate)
        for arguments, names in [(("a", "b"), {}), ((), {}), ((), {"key": "a"})]:
            with pytest.raises(TypeError, match="read is batched: it is called with one key, by position"):
                f(*arguments, **names)
        assert calls == []

    def test_key_and_typed(self, decorate: Any) -> None:
        """Of keys that are one to the cache the first is in the list."""
        f, calls = batched(decorate, key=str.lower)
        assert f.map(["A", "a", "b", "B"]) == [text("A"), text("A"), text("b"), text("b")]
        g, typed = batched(decorate, typed=True)
        g.map([1, 1.0])
        assert (calls, typed) == ([["A", "b"]], [[1, 1.0]])

    # Exceptions

    def test_an_exception_belongs_to_its_key(self, decorate: Any) -> None:
        """It is raised with the key in a note, or in the key's place; the others are stored, and it is not."""
        f, calls = batched(decorate, bad)
        with pytest.raises(LookupError) as caught:
            f.map(["a", "bad 1", "b", "bad 2"])
        assert caught.value.args == ("bad 1",)
        assert caught.value.__notes__ == ["bytecache: while reading 'bad 1'"]
        values = f.map(["bad 2", "a", "c", "bad 2"], return_exceptions=True)
        assert values[1:3] == [text("a"), text("c")] and values[0] is values[3] and values[0].args == ("bad 2",)
        assert calls == [["a", "bad 1", "b", "bad 2"], ["bad 2", "c"]]
        assert stats_of(f, "hits", "misses", "errors", "stored", "currsize") == (2, 6, 3, 3, 3)
        with pytest.raises(LookupError):
            f("bad 1")
        assert_at_rest(f)

    def test_what_the_call_raises_belongs_to_all_its_keys(self, decorate: Any) -> None:
        """It counts as an error of each, and the next call reads them."""
        failing = True

        @decorate(batched=True)
        def f(keys: list[str]) -> list[bytes]:
            if failing:
                raise ConnectionError("gone")
            return [text(key) for key in keys]

        errors = f.map("abc", return_exceptions=True)
        assert [type(one) for one in errors] == [ConnectionError] * 3
        with pytest.raises(ConnectionError):
            f.map("abc")
        assert stats_of(f, "misses", "errors", "currsize") == (6, 6, 0)
        failing = False
        assert f.map("abc") == [text(key) for key in "abc"]
        assert_at_rest(f)

    @pytest.mark.parametrize("values", [[], [b"1", b"2", b"3", b"4"]], ids=["none", "too many"])
    def test_a_wrong_number_of_values(self, decorate: Any, values: list[bytes]) -> None:
        """Nothing is stored, and the error says how many values were expected, and how many came."""
        f = decorate(batched=True)(lambda keys: values)
        with pytest.raises(ValueError, match=rf"is batched: .* of its 3 keys, in order, got {len(values)}"):
            f.map("abc")
        with pytest.raises(ValueError, match=r"of its 1 keys"):
            f("a")
        assert stats_of(f, "misses", "errors", "stored", "currsize") == (4, 4, 0, 0)
        assert_at_rest(f)

    @pytest.mark.parametrize("values", ["abc", b"abc", {"a": 1, "b": 2, "c": 3}, iter("abc"), None, {1, 2, 3}])
    def test_what_is_no_list_of_values(self, decorate: Any, values: Any) -> None:
        """A str, a dict, an iterator or None is a TypeError, also if it has the right length."""
        f = decorate(batched=True)(lambda keys: values)
        with pytest.raises(TypeError, match=f"must return a list .* got {type(values).__name__}"):
            f.map("abc")
        assert stats_of(f, "stored", "currsize") == (0, 0)

    def test_a_value_that_cannot_be_stored_fails_alone(self, decorate: Any) -> None:
        """What the cache refuses is an error of its key."""
        f, _ = batched(decorate, lambda key: iter(key) if key == "b" else text(key))
        first, error, last = f.map("abc", return_exceptions=True)
        assert (first, last) == (text("a"), text("c")) and isinstance(error, TypeError)
        assert stats_of(f, "misses", "errors", "stored") == (3, 1, 2)

    def test_a_cancelled_task_is_no_value(self, decorate: Any) -> None:
        """What asyncio.gather(return_exceptions=True) returns for a cancelled task is raised, and nothing is stored."""
        f = decorate(batched=True)(lambda keys: [b"a", CancelledError()])
        with pytest.raises(CancelledError):
            f.map("ab")
        assert f.cache_info().currsize == 0
        assert_at_rest(f)

    def test_a_discarded_value_that_cannot_be_stored_fails_alone(self, decorate: Any) -> None:
        """What put raises for a discarded key is no error of the other keys."""
        gate = Gate()
        f, _ = batched(decorate, lambda key: iter(gate(key)[0]) if key == "b" else text(key))
        mapped = start(lambda: f.map("abc", return_exceptions=True))
        gate.wait_entered()
        f.cache_discard("b")
        gate.open()
        a, error, c = mapped()
        assert (a, c) == (text("a"), text("c")) and isinstance(error, TypeError)
        assert stats_of(f, "errors", "stored") == (1, 2)

    def test_a_value_that_cannot_be_stored_leaves_no_cycle(self, decorate: Any, plain_gc: None) -> None:
        """When the caller drops the TypeError of a value that can be used only once, the value dies at once."""
        alive: list[Any] = []

        class Once:
            def __iter__(self) -> Any:
                return self

            def __next__(self) -> Any:
                raise StopIteration

        def value(key: str) -> Any:
            once = Once()
            alive.append(weakref.ref(once))
            return once

        f, _ = batched(decorate, value)
        f.map("ab", return_exceptions=True)
        assert [one() for one in alive] == [None, None]

    @pytest.mark.parametrize("how", ["value", "value with a traceback", "raised"])
    def test_exceptions_leave_no_cycle(self, decorate: Any, plain_gc: None, how: str) -> None:
        """When the caller drops an exception, the locals of the function die at once."""

        class Local:
            pass

        alive: list[Any] = []

        @decorate(batched=True)
        def f(keys: list[str]) -> list[Any]:
            local = Local()
            alive.append(weakref.ref(local))
            if how == "raised":
                raise LookupError(keys)
            return [outcome(bad, key, keep=how != "value") for key in keys]

        def call() -> None:
            for attempt in (lambda: f.map(["bad", "worse bad"]), lambda: f("bad")):
                with pytest.raises(LookupError):
                    attempt()
            f.map(["bad", "bad too"], return_exceptions=True)

        call()
        assert len(alive) == 3 and [one() for one in alive] == [None] * 3

    # Budgets, clears, discards

    def test_what_does_not_fit_is_returned(self, decorate: Any) -> None:
        """A value that is larger than the budget is returned, counted as rejected and not stored."""
        f, calls = batched(decorate, lambda key: bytes(10_000) if key == "b" else b"small", maxbytes=6_000)
        assert [len(value) for value in f.map("abc")] == [5, 10_000, 5]
        assert f.map("abc") and calls == [["a", "b", "c"], ["b"]]
        assert stats_of(f, "stored", "rejected", "currsize") == (2, 2, 2)

    def test_a_clear_during_the_call(self, decorate: Any) -> None:
        """fill_once stores nothing of what was being read, lru_cache all; the callers get their values."""
        gate = Gate()
        f, _ = batched(decorate, lambda key: text(gate(key)[0]))
        mapped = start(lambda: f.map("ab"))
        gate.wait_entered()
        f.cache_clear()
        gate.open()
        assert mapped() == [text("a"), text("b")]
        assert f.cache_info().currsize == (2 if evicts(f) else 0)
        assert_at_rest(f)

    def test_a_discard_during_the_call(self, decorate: Any) -> None:
        """The discarded key is not stored, the others are."""
        gate = Gate()
        f, calls = batched(decorate, lambda key: text(gate(key)[0]))
        mapped = start(lambda: f.map("abc"))
        gate.wait_entered()
        assert f.cache_discard("b") is False
        gate.open()
        assert mapped() == [text(key) for key in "abc"]
        assert [f.cache_contains(key) for key in "abc"] == [True, False, True]
        assert f.map("abc") and calls == [["a", "b", "c"], ["b"]]

    # Others that read the same keys

    @pytest.mark.parametrize("value", [lambda key: bytes(100), bad], ids=["rejected", "raised"])
    def test_maps_share_what_is_not_stored(self, decorate: Any, value: Any) -> None:
        """A map that waits for another one gets all its values and exceptions, also those that are not stored."""
        gate = Gate()
        f, calls = batched(decorate, lambda key: value("bad" + gate(key)[0]), maxbytes=10)
        first = start(lambda: f.map("abcd", return_exceptions=True))
        gate.wait_entered()
        second = start(lambda: f.map("dcba", return_exceptions=True))
        until(lambda: len(waiting_threads()) == 1)
        gate.open()
        found = first()
        assert second() == found[::-1] and calls == [["a", "b", "c", "d"]] and f.cache_info()[:2] == (4, 4)

    def test_keys_that_others_read_are_not_read_again(self, decorate: Any) -> None:
        """A map calls the function with the rest, and waits for the others afterwards."""
        gate = Gate()
        f, calls = batched(decorate, lambda key: text(gate(key)[0]) if key == "a" else text(key))
        other = start(lambda: f.map("ab"))
        gate.wait_entered()
        mapped = start(lambda: f.map("abcd"))
        until(lambda: f.cache_contains("d"))  # stored before it waits
        until(lambda: len(waiting_threads()) == 1)
        gate.open()
        assert mapped() == [text(key) for key in "abcd"] and other() == [text("a"), text("b")]
        assert calls == [["a", "b"], ["c", "d"]]
        assert stats_of(f, "hits", "misses") == (2, 4)
        assert_at_rest(f)

    def test_a_call_waits_for_a_batch(self, decorate: Any) -> None:
        """A call of one key gets the value from the batch that has it, or its exception."""
        gate = Gate()
        f, calls = batched(decorate, lambda key: bad(gate(key)[0]))
        mapped = start(lambda: f.map(["a", "bad"], return_exceptions=True))
        gate.wait_entered()
        one, other = start(lambda: f("a")), start(lambda: f("bad"))
        until(lambda: len(waiting_threads()) == 2)
        gate.open()
        value, error = mapped()
        assert one() == value == text("a") and other() is error
        assert calls == [["a", "bad"]] and stats_of(f, "hits", "misses", "errors") == (2, 2, 1)

    def test_maps_in_opposite_orders(self, decorate: Any) -> None:
        """Two maps, each of which reads what the other one needs, wait for each other after their own calls alone."""
        inside = threading.Barrier(2)

        @decorate(batched=True)
        def f(keys: list[str]) -> list[bytes]:
            if "x" in keys or "y" in keys:
                inside.wait(PATIENCE_S)
            return [text(key) for key in keys]

        for _ in range(50):
            f.cache_clear()
            one, other = together(lambda: f.map("xabcd"), lambda: f.map("dcbay"))
            assert one == [text(key) for key in "xabcd"] and other == [text(key) for key in "dcbay"]
            assert f.cache_info()[:2] == (4, 6)
        assert_at_rest(f)

    def test_many_maps_read_each_key_once(self, decorate: Any) -> None:
        """Threads that map overlapping random lists get their values, and no key is read twice."""
        f, calls = batched(decorate)
        rng = random.Random(1)
        for _ in range(20):
            f.cache_clear()
            calls.clear()
            lists = [[rng.randrange(40) for _ in range(rng.randrange(1, 30))] for _ in range(8)]
            found = together(*(lambda keys=keys: f.map(keys) for keys in lists))
            assert found == [[text(key) for key in keys] for keys in lists]
            read = [key for call in calls for key in call]
            assert sorted(read) == sorted({key for keys in lists for key in keys})
        assert_at_rest(f)

    @pytest.mark.parametrize("death", [KeyboardInterrupt, SystemExit])
    def test_others_go_on_after_an_interrupt(self, decorate: Any, death: type[BaseException]) -> None:
        """Ctrl-C in a batch is raised by its map alone; the waiters read what it had."""
        gate = Gate()

        def value(key: str) -> bytes:
            gate(key)
            if len(gate.ran) == 1:
                raise death
            return text(key)

        f, calls = batched(decorate, value)
        mapped = start(lambda: f.map("ab"))
        gate.wait_entered()
        waiting = [start(lambda: f("a")), start(lambda: f.map("ba"))]
        until(lambda: len(waiting_threads()) == 2)
        gate.open()
        assert isinstance(mapped(), death)
        assert waiting[0]() == text("a") and waiting[1]() == [text("b"), text("a")]
        assert calls[0] == ["a", "b"] and sorted(sum(calls[1:], [])) == ["a", "b"]
        assert stats_of(f, "misses", "errors", "currsize") == (4, 2, 2)
        assert_at_rest(f)

    def test_ctrl_c_ends_a_map(self, decorate: Any) -> None:
        """An interrupt while a map waits for another one is raised at once, and the other one goes on."""
        gate = Gate()
        f, _ = batched(decorate, lambda key: text(gate(key)[0]) if key == "a" else text(key))
        other = start(lambda: f("a"))
        gate.wait_entered()
        main = threading.get_ident()

        def interrupt() -> None:
            until(lambda: main in waiting_threads())
            signal.pthread_kill(main, signal.SIGINT)

        ended = start(interrupt)
        with pytest.raises(KeyboardInterrupt):
            f.map("abc")
        ended()
        gate.open()
        assert other() == text("a") and f.map("abc") == [text(key) for key in "abc"]
        assert_at_rest(f)

    def test_a_batch_inside_a_batch(self, decorate: Any) -> None:
        """The function may map other keys; to ask for one of its own list is an error, not a hang."""

        @decorate(batched=True)
        def f(keys: list[int]) -> list[Any]:
            below = f.map([key - 1 for key in keys if key > 0], return_exceptions=True)
            return [one if isinstance(one, Exception) else b"above" for one in below] or [b"end"] * len(keys)

        assert f(5) == b"above" and f(0) == b"end"
        above, circle = f.map([7, 8], return_exceptions=True)  # 8 needs 7, which is in its own list
        assert above == b"above"
        assert circle == b"above" if evicts(f) else isinstance(circle, RecursionError)  # functools lets it re-enter
        assert_at_rest(f)

    # Forks, copies, other ways in

    def test_a_fork_during_a_batch(self, decorate: Any) -> None:
        """A child reads for itself what another thread of its parent was reading."""
        gate = Gate()
        pid = os.getpid()
        f, _ = batched(decorate, lambda key: text(gate(key)[0] if os.getpid() == pid else key))
        mapped = start(lambda: f.map("ab"))
        gate.wait_entered()
        started = start(lambda: in_child(lambda: f.map("cd")))  # a and b are leased by the parent, if anybody leases
        assert started() == [text("c"), text("d")]
        gate.open()
        assert mapped() == [text("a"), text("b")]
        assert in_child(lambda: f.map("abe")) == [text(key) for key in "abe"]

    def test_uncached(self, decorate: Any) -> None:
        """``uncached`` is batched too, and stores nothing, so any value will do."""
        g, _ = batched(decorate, iter)
        assert list(g.uncached("a")) == ["a"] and [list(one) for one in g.uncached.map("ab")] == [["a"], ["b"]]
        f, calls = batched(decorate)
        assert f.uncached.map("ab") == [text("a"), text("b")] and f.uncached("c") == text("c")
        assert calls == [["a", "b"], ["c"]] and f.cache_info()[:2] == (0, 0)
        assert f.uncached.cache_info()[:2] == (0, 3)

    def test_the_function_itself(self, decorate: Any) -> None:
        """``__wrapped__`` is the function of a list."""
        f, _ = batched(decorate)
        assert f.__wrapped__(["a", "b"]) == [text("a"), text("b")] and f.__name__ == "read"

    # warm

    def test_warm_in_batches(self, decorate: Any) -> None:
        """warm calls the function for batch_size keys at a time, without those that are stored."""
        f, calls = batched(decorate)
        f(3)
        assert f.warm(range(10), 1, batch_size=4).currsize == 10
        assert calls == [[3], [0, 1, 2], [4, 5, 6, 7], [8, 9]]
        assert f.warm(iter(range(200)), batch_size=100).currsize == 200 and max(map(len, calls)) == 100

    def test_warm_passes_over_what_raises(self, decorate: Any) -> None:
        """What raises is counted and reported, and the rest is stored."""
        f, _ = batched(decorate, bad)
        with pytest.warns(RuntimeWarning, match=r"warm passed over 2 keys whose read raised; the first: 'bad 1'"):
            stats = f.warm(["a", "bad 1", "b", "bad 2", "c"], threads=1, batch_size=2)
        assert (stats.currsize, stats.errors) == (3, 2)

    @pytest.mark.parametrize("size, error", [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, ValueError)])
    def test_batch_size_is_checked(self, decorate: Any, size: Any, error: Any) -> None:
        """An invalid size raises before a key is read; so does one for a function of a single key."""
        f, calls = batched(decorate)
        with pytest.raises(error, match="batch_size must be an int of 1 or more"):
            f.warm([1], batch_size=size)
        f.warm(range(70))
        assert sorted(map(len, calls)) == [6, 64]
        calls.clear()
        with pytest.raises(TypeError, match="batch_size is for functions with batched=True"):
            decorate()(text).warm([1], batch_size=2)
        assert calls == []


class Methods:
    """Instances with a batched method, in a module from which they pickle."""

    def __init__(self, root: str) -> None:
        self.root, self.calls = root, list[Any]()

    @bytecache.fill_once(batched=True)
    def read(self, keys: list[str]) -> list[str]:
        self.calls.append(keys)
        return [self.root + key for key in keys]

    def __reduce__(self) -> Any:
        return Methods, (self.root,)


def copy(instance: Methods) -> Any:
    """Return the batched method of an instance as pickle copies it."""
    return pickle.loads(pickle.dumps(instance.read))
