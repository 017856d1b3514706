"""How simultaneous calls of one cached function meet, whatever keeps its values: waiters, leaders that die, circles."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers.counting import stats_of
from helpers.flights import Gate, N, crowd
from helpers.internals import assert_at_rest, waiting_threads
from helpers.interrupts import sigint_once
from helpers.processes import in_child
from helpers.threads import PATIENCE_S, start, together, until


class SingleFlightContract:
    """One run per key in a process; see contracts.calls for how to run it."""

    # Waiters

    def test_simultaneous_misses_share_the_exception(self, decorate: Any) -> None:
        """Waiters get the leader's exception, counted as one error; it is not stored."""
        gate = Gate()

        @decorate()
        def f(key: Any) -> Any:
            gate(key)
            raise LookupError(key)

        calls = crowd(f, gate)
        gate.open()
        errors = [call() for call in calls]
        assert isinstance(errors[0], LookupError) and len(set(map(id, errors))) == 1
        assert stats_of(f, "hits", "misses", "errors", "currsize") == (N - 1, 1, 1, 0)
        assert isinstance(start(lambda: f("a"))(), LookupError)
        assert gate.ran == ["a", "a"]
        assert_at_rest(f)

    def test_waiters_get_a_value_that_was_rejected(self, decorate: Any) -> None:
        """The calls that waited get the value even if it does not fit."""
        gate = Gate()
        f = decorate(maxbytes=1)(gate)
        calls = crowd(f, gate)
        gate.open()
        assert [call() for call in calls] == [["a"]] * N
        assert gate.ran == ["a"]
        assert stats_of(f, "hits", "misses", "rejected", "currsize") == (N - 1, 1, 1, 0)

    def test_two_keys_do_not_wait_for_each_other(self, decorate: Any) -> None:
        """Two keys can be in the function at the same time, and a third is answered meanwhile."""
        inside = threading.Barrier(3)

        @decorate()
        def f(key: str) -> str:
            if key != "c":
                inside.wait(PATIENCE_S)
            return key

        calls = [start(lambda: f("a")), start(lambda: f("b"))]
        assert f("c") == f("c") == "c"
        inside.wait(PATIENCE_S)
        assert [call() for call in calls] == ["a", "b"]

    @pytest.mark.parametrize("death", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_one_waiter_takes_over_from_a_leader_that_dies(self, decorate: Any, death: type[BaseException]) -> None:
        """A leader's KeyboardInterrupt or SystemExit is its own: one waiter runs the function for the others."""
        gate = Gate()

        @decorate()
        def f(key: Any) -> Any:
            value = gate(key)
            if len(gate.ran) == 1:
                raise death
            return value

        leader, *waiters = crowd(f, gate)
        gate.open()
        assert isinstance(leader(), death)
        assert [call() for call in waiters] == [["a"]] * (N - 1)
        assert gate.ran == ["a", "a"]
        assert stats_of(f, "hits", "misses", "errors", "currsize") == (N - 2, 2, 1, 1)
        assert_at_rest(f)

    def test_all_leaders_may_die(self, decorate: Any) -> None:
        """If every leader dies, each call runs the function once, and no call is left waiting."""
        gate = Gate()

        @decorate()
        def f(key: Any) -> Any:
            gate(key)
            raise SystemExit

        calls = crowd(f, gate)
        gate.open()
        assert [type(call()) for call in calls] == [SystemExit] * N
        assert (len(gate.ran), f.cache_info()[:2]) == (N, (0, N))
        assert_at_rest(f)

    # Functions that call themselves

    def test_recursion_with_other_keys_works(self, decorate: Any) -> None:
        """A cached function may call itself with other arguments."""

        @decorate()
        def fib(n: int) -> int:
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        assert fib(50) == 12586269025
        assert fib.cache_info()[:2] == (48, 51)

    @pytest.mark.parametrize("size", [2, 3])
    def test_threads_that_call_in_a_circle_get_an_error(self, decorate: Any, size: int) -> None:
        """Threads whose functions call each other's keys in a circle get RecursionError; none hangs or stores."""
        inside = threading.Barrier(size)

        @decorate()
        def f(key: int) -> Any:
            if inside.broken:
                return key
            inside.wait(PATIENCE_S)
            return f((key + 1) % size)

        outcomes = together(*[lambda key=key: f(key) for key in range(size)])
        assert [type(outcome) for outcome in outcomes] == [RecursionError] * size
        assert stats_of(f, "hits", "misses", "errors", "currsize") == (size, size, size, 0)
        assert_at_rest(f)
        inside.abort()
        assert [f(key) for key in range(size)] == list(range(size))

    def test_a_circle_through_two_functions_gets_an_error(self, decorate: Any) -> None:
        """A circle is found across caches too."""
        inside = threading.Barrier(2)

        def meet_then(other: Callable[[], Any]) -> Any:
            inside.wait(PATIENCE_S)
            return other()

        f = decorate()(lambda: meet_then(lambda: g()))
        g = decorate()(lambda: meet_then(lambda: f()))
        assert [type(outcome) for outcome in together(f, g)] == [RecursionError, RecursionError]
        assert_at_rest(f)
        assert_at_rest(g)

    def test_a_function_that_maps_its_own_key_gets_an_error(self, decorate: Any) -> None:
        """A helper of map that asks for the key whose run waits for that helper is refused: it could never end."""

        @decorate()
        def f(key: str) -> Any:
            if key == "whole":
                return f.map(["part", "other part"], threads=2)
            if threading.current_thread() is threading.main_thread():
                assert helper_runs.wait(PATIENCE_S)
                return key
            helper_runs.set()
            return f("whole")

        def outcome() -> str:
            with pytest.raises(RecursionError):
                f("whole")
            return "refused"

        helper_runs = threading.Event()
        assert in_child(outcome, patience_s=10) == "refused"  # in a child, since a hang could not be ended here

    @pytest.mark.parametrize("on_caller", [True, False], ids=["the caller asks", "the helper asks"])
    def test_a_map_whose_items_need_each_other_works(self, decorate: Any, on_caller: bool) -> None:
        """Of two items that map reads at once one may call the function with the other's key, on either thread."""
        both_run, caller, ended = threading.Barrier(2), threading.get_ident(), threading.Event()

        @decorate()
        def f(key: str) -> str:
            both_run.wait(PATIENCE_S)
            if (threading.get_ident() == caller) == on_caller:
                try:
                    return f("b" if key == "a" else "a")
                finally:
                    ended.set()
            until(lambda: waiting_threads() or ended.is_set())
            return key

        first, second = f.map(["a", "b"], threads=2)
        assert first == second
        assert f.cache_info()[:2] == (1, 2)
        assert_at_rest(f)

    # Interrupts

    def test_ctrl_c_in_a_call_leaves_the_cache_usable(self, decorate: Any) -> None:
        """A real SIGINT while the function runs ends that call; the key can be read again."""
        ran = []

        @decorate()
        def f(key: str) -> str:
            ran.append(key)
            if len(ran) == 1:
                signal.raise_signal(signal.SIGINT)
            return key

        with pytest.raises(KeyboardInterrupt):
            f("a")
        assert_at_rest(f)
        assert (f("a"), ran, f.cache_info()[:2]) == ("a", ["a", "a"], (0, 2))

    def test_ctrl_c_frees_a_main_thread_that_waits(self, decorate: Any) -> None:
        """A SIGINT reaches a thread that waits for another's call; that call goes on, and the others get its value."""
        gate = Gate()
        f = decorate()(gate)
        calls = crowd(f, gate)

        me = threading.get_ident()
        with pytest.raises(KeyboardInterrupt), sigint_once(lambda: me in waiting_threads()):
            f("a")
        gate.open()
        assert [call() for call in calls] == [["a"]] * N
        assert f.cache_info()[:2] == (N, 1)
        assert_at_rest(f)
