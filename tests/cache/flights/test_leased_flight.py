"""One run per key among processes: who waits for a lease, what ends one, and that no two wait for each other."""

from __future__ import annotations

import os
import random
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.flights import Gate
from helpers.internals import assert_sound, flights_of, leasing_threads, locked_bytes, store_of
from helpers.processes import Children, in_child, receive, send, waits_for_lock
from helpers.threads import PATIENCE_S, start, until

import bytecache
from bytecache import SharedStore


@pytest.fixture
def store(stores: Callable[..., SharedStore]) -> SharedStore:
    return stores()


@pytest.fixture
def pipe() -> Iterator[Callable[[], tuple[int, int]]]:
    """A factory of pipes, closed at the end: (descriptor to read from, descriptor to write to)."""
    made: list[int] = []

    def make() -> tuple[int, int]:
        ends = os.pipe()
        made.extend(ends)
        return ends

    yield make
    for fd in made:
        os.close(fd)


def text(key: Any) -> bytes:
    return str(key).encode()


# Processes that miss the same key


def test_eight_processes_read_each_of_200_keys_once(store: SharedStore, pipe: Any, tmp_path: Path) -> None:
    """Of eight processes that miss a key together one runs the function, and the others wait for its value."""
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    go = pipe()

    @bytecache.fill_once(store=store)
    def read(key: int) -> bytes:
        send(log)
        for _ in range(50):
            os.sched_yield()  # slow enough that the others miss the key too
        return b"%d" % key

    def process() -> Any:
        os.read(go[0], 1)
        return [read(key) == b"%d" % key for key in range(200)].count(True), *read.cache_info()[:2]

    children = Children(*[process] * 8)
    send(go[1], "x" * 8)
    answers = children.answers()
    assert [right for right, *_ in answers] == [200] * 8
    assert os.path.getsize(tmp_path / "log") == sum(misses for *_, misses in answers) == 200
    assert read.cache_info("all")[:2] == (1400, 200)
    os.close(log)


def test_when_the_leader_is_killed_the_next_takes_over(store: SharedStore, pipe: Any) -> None:
    """If a process is killed inside the function one of those that wait runs it; the rest get its value."""
    entered, leave = pipe(), pipe()

    @bytecache.fill_once(store=store)
    def read(key: str) -> bytes:
        send(entered[1])
        os.read(leave[0], 1)
        return b"value"

    def process() -> Any:
        return [read("a") == b"value", *read.cache_info()[:2]]

    leader = Children(process)
    receive(entered[0])
    others = Children(*[process] * 3)
    until(lambda: all(waits_for_lock(f"/proc/{pid}") for pid in others.pids))
    os.kill(leader.pids[0], signal.SIGKILL)
    receive(entered[0])  # the next one is in the function
    send(leave[1])
    assert leader.answers() == [None]
    assert sorted(others.answers()) == [[True, 0, 1], [True, 1, 0], [True, 1, 0]]
    assert read.cache_info("all")[:2] == (2, 2)  # the killed one had started its run
    assert select.select([entered[0]], [], [], 0)[0] == []


def test_an_inner_call_does_not_release_the_outer_calls_lease(stores: Any) -> None:
    """While decode(path) runs, another process's decode(path) waits, even after read(path) of the same store."""
    other = stores(name="one")
    waits: list[bool] = []
    read = bytecache.fill_once(store=stores(name="one"))(text)

    @bytecache.fill_once(store=store_of(read))
    def decode(key: str) -> bytes:
        before = locked_bytes(other)
        inner = read(key)
        waits.append(before == locked_bytes(other) != [])
        return inner

    assert (decode("a"), waits, locked_bytes(other)) == (b"a", [True], [])


def test_two_functions_with_one_key_do_not_wait_for_each_other(stores: Any) -> None:
    """While f("a") runs, g("a") of the same store is answered, even in another process."""
    gate = Gate()
    f = bytecache.fill_once(store=stores(name="one"))(lambda key: text(*gate(key)))
    g = bytecache.fill_once(store=stores(name="one"))(lambda key: b"g")
    call = start(lambda: f("a"))
    gate.wait_entered()
    other = start(lambda: g("a"))
    try:
        assert other() == b"g"
    finally:
        gate.open()
    assert (call(), other()) == (b"a", b"g")


def test_a_call_from_before_a_clear_does_not_release_the_lease_of_one_after_it(stores: Any) -> None:
    """When a read that started before a clear ends, other processes still wait for one that started after it."""
    gate, later = Gate(), Gate()
    bodies = iter([gate, later])
    f = bytecache.fill_once(store=stores())(lambda key: text(*next(bodies)(key)))
    before = start(lambda: f("a"))
    gate.wait_entered()
    f.cache_clear()
    after = start(lambda: f("a"))
    later.wait_entered()
    gate.open()
    assert before() == b"a"
    assert len(locked_bytes(store_of(f))) == 1
    later.open()
    assert after() == b"a"
    assert locked_bytes(store_of(f)) == []


def test_an_interrupt_while_waiting_for_another_process_leaves_no_lease(store: SharedStore, pipe: Any) -> None:
    """Ctrl-C ends a wait for another process's run; later calls of that thread may wait again."""
    entered, leave = pipe(), pipe()

    @bytecache.fill_once(store=store)
    def read(key: str) -> bytes:
        send(entered[1])
        os.read(leave[0], 1)
        return b"value"

    leader = Children(lambda: read("a").decode())
    receive(entered[0])
    main_thread = f"/proc/self/task/{threading.main_thread().native_id}"

    def interrupt() -> None:
        until(lambda: waits_for_lock(main_thread))
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = start(interrupt)
    with pytest.raises(KeyboardInterrupt):
        read("a")
    interrupting()
    send(leave[1])
    assert leader.answers() == ["value"]
    assert read("a") == b"value"
    assert leasing_threads() == set()


def test_a_fork_while_other_threads_write_and_wait_leaves_their_locks_to_them(store: SharedStore) -> None:
    """Children forked while threads write, lead and wait are answered; after them no lock is left."""
    stop = threading.Event()

    @bytecache.fill_once(store=store)
    def read(key: int) -> bytes:
        return b"%d" % key * 9

    def work(seed: int) -> None:
        drawn = random.Random(seed)
        while not stop.is_set():
            key = drawn.randrange(5000)
            assert read(key) == b"%d" % key * 9

    workers = [start(lambda seed=seed: work(seed)) for seed in range(3)]
    try:
        for child in range(40):
            keys = range(child * 50, child * 50 + 50)
            assert in_child(lambda: [read(key) for key in keys]) == [b"%d" % key * 9 for key in keys]  # noqa: B023
    finally:
        stop.set()
    assert [worker() for worker in workers] == [None] * 3
    assert_sound(store)


# Calls in a circle; some tests play each process by a store object of its own, with its own locks


def test_processes_that_call_each_others_keys_do_not_hang(store: SharedStore, pipe: Any) -> None:
    """f(1) calls f(2) in one process while f(2) calls f(1) in the other: a RecursionError, as in one process."""
    inside = [pipe(), pipe()]

    @bytecache.fill_once(store=store)
    def f(key: int) -> bytes:
        if not met:
            met.append(key)
            send(inside[2 - key][1])
            os.read(inside[key - 1][0], 1)
        return f(3 - key)

    met: list[int] = []
    answers = Children(lambda: f(1), lambda: f(2)).answers()
    assert [str(answer)[:14] for answer in answers] == ["RecursionError"] * 2


def test_helpers_of_map_inside_a_cached_function_do_not_wait_in_a_circle(store: SharedStore, pipe: Any) -> None:
    """Two processes map the same parts inside a cached function, in opposite orders: both are answered."""
    inside = [pipe(), pipe()]

    @bytecache.fill_once(store=store)
    def f(key: str) -> bytes:
        if key in "AB":
            mine = "AB".index(key)
            send(inside[1 - mine][1])
            os.read(inside[mine][0], 1)
            return b"".join(f.map(["a", "b", "c", "d"][:: -1 if mine else 1] + ["BA"[mine].lower() * 2], threads=4))
        return key.encode()

    answers = Children(lambda: f("A").decode(), lambda: f("B").decode()).answers()
    assert answers == ["abcdbb", "dcbaaa"]


def test_processes_that_need_each_others_parts_do_not_hang(stores: Any) -> None:
    """decode(a) reads b and decode(b) reads a, in two processes, while other threads wait to read a and b."""
    inside, reading = threading.Barrier(2), threading.Event()

    def process() -> Any:
        store = stores(name="one")
        read = bytecache.fill_once(store=store, version="read")(text)

        @bytecache.fill_once(store=store, version="decode")
        def decode(key: str) -> bytes:
            inside.wait(PATIENCE_S)
            assert reading.wait(PATIENCE_S)
            return read("b" if key == "a" else "a")

        return read, decode

    (read_1, decode_1), (read_2, decode_2) = process(), process()
    calls = [start(lambda: decode_1("a")), start(lambda: decode_2("b"))]
    until(lambda: len(locked_bytes(store_of(read_1))) == 2)
    reads = [start(lambda: read_1("b")), start(lambda: read_2("a"))]
    # Either they are answered, or they are in flight and wait for the other process's decode.
    until(lambda: all(flights_of(read) or read.cache_info("process").misses for read in (read_1, read_2)))
    reading.set()
    assert [call() for call in calls + reads] == [b"b", b"a", b"b", b"a"]


def test_a_circle_through_waiting_threads_of_two_processes_gets_an_error(stores: Any) -> None:
    """f(1) and f(2) call each other, each led by one process while a thread of the other waits: RecursionError."""
    two = stores(name="one"), stores(name="one")

    def circle() -> list[str]:
        inside, waiting = threading.Barrier(2), threading.Event()

        def process(store: SharedStore) -> Any:
            @bytecache.fill_once(store=store, version=1)
            def f(key: int) -> bytes:
                if not waiting.is_set():
                    inside.wait(PATIENCE_S)
                    assert waiting.wait(PATIENCE_S)
                return f(3 - key)

            return f

        first, second = map(process, two)
        calls = [start(lambda: first(1)), start(lambda: second(2))]
        until(lambda: len(locked_bytes(two[0])) == 2)
        calls += [start(lambda: first(2)), start(lambda: second(1))]
        until(lambda: len(flights_of(first)) == len(flights_of(second)) == 2)
        waiting.set()
        return [type(call()).__name__ for call in calls]

    assert in_child(circle, patience_s=10) == ["RecursionError"] * 4  # in a child, since a hang cannot be ended here
