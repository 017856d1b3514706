"""One cache for all processes: start methods, ends of runs, launchers, kills, turns between processes."""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import in_child
from helpers.threads import PATIENCE_S, start, until

import bytecache
from bytecache import SharedStore
from bytecache.cache import key_lease as turns
from bytecache.stores.shared.header import GENERATION
from bytecache.stores.shared.index import COUNT
from bytecache.stores.shared.locks import WRITER, ByteLocks
from bytecache.stores.shared.segment import Segment

TESTS = Path(__file__).parents[2]
JOB = TESTS / "jobs" / "shared_job.py"
METHODS = ["fork", "forkserver", "spawn"]
LAUNCHERS = ("TORCHELASTIC_", "MASTER_", "LOCAL_RANK", "SLURM_", "PMIX_")


@pytest.fixture
def run_of_its_own(tmp_path: Path) -> dict[str, str]:
    """An environment in which a process begins another run than this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BYTECACHE_", *LAUNCHERS))}
    return {**kept, "READS_LOG": str(tmp_path / "reads"), "PYTHONPATH": str(TESTS.parent)}


def reads(environment: dict[str, str]) -> list[int]:
    log = Path(environment["READS_LOG"])
    return sorted(map(int, log.read_text().split())) if log.exists() else []


def job(environment: dict[str, str], *arguments: str, code: int = 0, by_name: bool = False) -> list[Any]:
    """The lines of JSON that a job prints."""
    target = ["-m", "shared_job"] if by_name else [str(JOB)]
    done = subprocess.run(
        [sys.executable, *target, *arguments],
        env=environment, cwd=JOB.parent, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# Start methods


@pytest.mark.parametrize("by_name", [False, True], ids=["by path", "by -m"])
@pytest.mark.parametrize("method", METHODS)
def test_processes_of_any_start_method_share_one_cache(
    run_of_its_own: dict[str, str], method: str, by_name: bool
) -> None:
    """Two workers read each key once together, also through a pickled function; figures outlive them."""
    ((codes, figures),) = job(run_of_its_own, "workers", method, by_name=by_name)
    assert codes == [0, 0]
    assert figures == [[50, 50, 0, 0]] * 3
    assert reads(run_of_its_own) == sorted([*range(50)] * 3)


@pytest.mark.parametrize("method", METHODS)
def test_a_dataloader_reads_every_item_once(run_of_its_own: dict[str, str], method: str) -> None:
    """100 items, 3 epochs, 2 workers: 100 reads in all; with room for half, 50 hits (± 1) in each later epoch."""
    pytest.importorskip("torch", reason="the DataLoader is torch's")
    (found,) = job(run_of_its_own, "epochs", method)
    for name, (counts, of_all, of_parent) in found.items():
        if name.startswith("all"):
            assert (counts, of_all) == ([100, 0, 0], [200, 100]), name
        else:
            assert counts[0] == 100 and all(49 <= 100 - count <= 51 for count in counts[1:]), name
            assert of_all == [300 - sum(counts), sum(counts)], name
        assert of_parent == [0, 0]
    assert len(found) >= 2


def test_a_program_that_the_run_starts_is_of_the_run(run_of_its_own: dict[str, str]) -> None:
    """What a process starts by exec finds its stores, and their figures are one."""
    assert job(run_of_its_own, "children") == [[50, 50]]
    assert reads(run_of_its_own) == [*range(50)]


def test_runs_do_not_see_each_other(run_of_its_own: dict[str, str]) -> None:
    """Two runs of one script at the same time have a folder each, and read for themselves."""
    first, second = rank(run_of_its_own), rank(run_of_its_own)
    places = [json.loads(one.stdout.readline()) for one in (first, second)]
    assert len({path for one in places for path in one}) == 4
    assert [finish(one) for one in (first, second)] == [[0, 50], [0, 50]]
    assert not any(Path(path).exists() for one in places for path in one)


@pytest.mark.parametrize(
    "launched",
    [
        {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"},
        {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0"},
    ],
    ids=["torchrun", "slurm"],
)
def test_ranks_of_a_launcher_share_one_cache(run_of_its_own: dict[str, str], launched: dict[str, str]) -> None:
    """Processes without a common ancestor of the run find one store by what their launcher has set."""
    names = {"LOCAL_RANK", "SLURM_PROCID"}
    first, second = (rank({**run_of_its_own, **launched, **dict.fromkeys(names, str(one))}) for one in range(2))
    places = [json.loads(one.stdout.readline()) for one in (first, second)]
    assert places[0] == places[1] and Path(places[0][0]).exists()
    assert reads(run_of_its_own) == [*range(50)]
    assert [finish(one) for one in (first, second)] == [[50, 50], [50, 50]]
    assert not any(Path(path).exists() for path in places[0])


def rank(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(JOB), "rank"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> Any:
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


# Ends


@pytest.mark.parametrize(
    "how, code",
    [("normal", 0), ("sys.exit", 3), ("exception", 1), ("exec", 0), *((f"daemons {method}", 0) for method in METHODS)],
)
def test_a_store_without_a_path_is_removed_when_the_run_ends(
    run_of_its_own: dict[str, str], how: str, code: int
) -> None:
    """However the last process of a run ends, short of a kill, its folders are gone."""
    places = job(run_of_its_own, "end", how, code=code)
    assert places and len(places[0]) == 2
    until(lambda: not any(Path(path).exists() for path in places[-1]))  # a fork server ends after its run


def test_a_killed_runs_store_is_swept_by_the_next(run_of_its_own: dict[str, str]) -> None:
    """SIGKILL leaves the folders; the next run that opens a store of its own removes them, and not its own."""
    (places,) = job(run_of_its_own, "end", "killed", code=-signal.SIGKILL)
    assert all(Path(path).exists() for path in places)
    job(run_of_its_own, "end", "normal")
    assert not any(Path(path).exists() for path in places)


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_outlives_its_parent_removes_the_store(run_of_its_own: dict[str, str], method: str) -> None:
    """Where the parent was killed, the last worker that ends takes the folders along."""
    with open(Path(run_of_its_own["READS_LOG"]).with_name("out"), "w+") as out:
        process = subprocess.Popen(
            [sys.executable, str(JOB), "end", f"orphan {method}"], env=run_of_its_own, stdout=out
        )
        assert process.wait(60) == -signal.SIGKILL
        out.seek(0)
        place = json.loads(out.readline())[0]
    until(lambda: not Path(place).exists())


def test_a_child_whose_parent_ended_before_it_called_begins_anew(run_of_its_own: dict[str, str]) -> None:
    """A daemonized child finds the store gone with its last user, makes it again, and removes it when it ends."""
    places, (mine, of_all) = job(run_of_its_own, "daemonize")
    assert (mine, of_all) == ([0, 50], [0, 50])
    assert sorted(reads(run_of_its_own)) == sorted([*range(50), *range(50)])
    assert not any(Path(path).exists() for path in places)


# Turns between processes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SharedStore]:
    one = SharedStore(tmp_path / "store", maxbytes="4 MiB")
    yield one
    one.close()


class Children:
    """Forked processes that run a function each, and what they answer."""

    def __init__(self, *functions: Callable[[], Any]) -> None:
        self.pids, self.pipes = [], []
        for function in functions:
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                try:
                    try:
                        signal.alarm(2 * PATIENCE_S)
                        answer = function()
                    except BaseException as exc:
                        answer = repr(exc)
                    os.write(writing, json.dumps(answer).encode())
                finally:
                    os._exit(0)
            os.close(writing)
            self.pids.append(pid), self.pipes.append(reading)

        _children.extend(self.pids)

    def answers(self) -> list[Any]:
        """What each has returned; None for one that was killed or hung."""
        found = []
        for pid, pipe in zip(self.pids, self.pipes, strict=True):
            ready = select.select([pipe], [], [], PATIENCE_S)[0]
            if not ready:
                os.kill(pid, signal.SIGKILL)
            data = os.read(pipe, 1 << 16)
            found.append(json.loads(data) if data else None)
            os.close(pipe)
            os.waitpid(pid, 0)
            _children.remove(pid)
        return found


_children: list[int] = []  # not yet waited for


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    """Kills what a test that failed has left behind."""
    yield
    while _children:
        os.kill(_children[-1], signal.SIGKILL)
        os.waitpid(_children.pop(), 0)


def entry(fd: int) -> str:
    """What the next process notes that gets so far."""
    assert select.select([fd], [], [], PATIENCE_S)[0], "nobody comes"
    return os.read(fd, 1).decode()


def waits_for_a_lock(pid: int) -> bool:
    """Whether a process stands in fcntl(F_OFD_SETLKW) or flock."""
    fields = Path(f"/proc/{pid}/syscall").read_text().split()
    return fields[0] in ("72", "73") and (fields[0] == "73" or int(fields[2], 16) == 38)


def note(fd: int, what: str = "x") -> None:
    os.write(fd, what.encode())


def test_eight_processes_read_each_of_200_keys_once(store: SharedStore, tmp_path: Path) -> None:
    """Of eight processes that miss the same keys together one runs the function for each, the others wait."""
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    go = os.pipe()

    @bytecache.fill_once(store=store)
    def read(key: int) -> bytes:
        note(log)
        for _ in range(50):
            os.sched_yield()  # slow enough that the others come
        return b"%d" % key

    def process() -> Any:
        os.read(go[0], 1)
        return [read(key) == b"%d" % key for key in range(200)].count(True), *read.cache_info()[:2]

    children = Children(*[process] * 8)
    note(go[1], "x" * 8)
    answers = children.answers()
    assert [right for right, *_ in answers] == [200] * 8
    assert os.path.getsize(tmp_path / "log") == sum(misses for *_, misses in answers) == 200
    assert read.cache_info("all")[:2] == (1400, 200)
    for fd in (log, *go):
        os.close(fd)


def test_when_the_leader_is_killed_the_next_takes_over(store: SharedStore, tmp_path: Path) -> None:
    """A process that is killed inside the function is followed by one of those that wait; the rest get its value."""
    entered, leave = os.pipe(), os.pipe()

    @bytecache.fill_once(store=store)
    def read(key: str) -> bytes:
        note(entered[1])
        os.read(leave[0], 1)
        return b"value"

    def process() -> Any:
        return [read("a") == b"value", *read.cache_info()[:2]]

    leader = Children(process)
    entry(entered[0])
    others = Children(*[process] * 3)
    until(lambda: all(waits_for_a_lock(pid) for pid in others.pids))
    os.kill(leader.pids[0], signal.SIGKILL)
    entry(entered[0])  # the next is in
    note(leave[1])
    assert leader.answers() == [None]
    assert sorted(others.answers()) == [[True, 0, 1], [True, 1, 0], [True, 1, 0]]
    assert read.cache_info("all")[:2] == (2, 2)  # the killed one had begun its run
    assert select.select([entered[0]], [], [], 0)[0] == []
    for fd in (*entered, *leave):
        os.close(fd)


def test_processes_that_call_each_others_keys_do_not_hang(store: SharedStore) -> None:
    """f(1) calls f(2) in one process while f(2) calls f(1) in the other: a RecursionError, as in one process."""
    inside = [os.pipe(), os.pipe()]

    @bytecache.fill_once(store=store)
    def f(key: int) -> bytes:
        if not met:
            met.append(key)
            note(inside[2 - key][1])
            os.read(inside[key - 1][0], 1)
        return f(3 - key)

    met: list[int] = []
    answers = Children(lambda: f(1), lambda: f(2)).answers()
    assert [str(answer)[:14] for answer in answers] == ["RecursionError"] * 2
    for fd in (*inside[0], *inside[1]):
        os.close(fd)


def test_helpers_of_map_inside_a_cached_function_do_not_wait_in_a_circle(store: SharedStore) -> None:
    """whole(1) maps parts that are whole(2)'s too, in both processes in other orders: neither stands still."""
    inside = [os.pipe(), os.pipe()]

    @bytecache.fill_once(store=store)
    def f(key: str) -> bytes:
        if key in "AB":
            mine = "AB".index(key)
            note(inside[1 - mine][1])
            os.read(inside[mine][0], 1)
            return b"".join(f.map(["a", "b", "c", "d"][:: -1 if mine else 1] + ["BA"[mine].lower() * 2], threads=4))
        return key.encode()

    answers = Children(lambda: f("A").decode(), lambda: f("B").decode()).answers()
    assert answers == ["abcdbb", "dcbaaa"]
    for fd in (*inside[0], *inside[1]):
        os.close(fd)


def test_an_interrupt_while_waiting_for_another_process_leaves_nothing(store: SharedStore) -> None:
    """Ctrl-C ends a wait for another process's run; later calls of that thread wait for turns as ever."""
    entered, leave = os.pipe(), os.pipe()

    @bytecache.fill_once(store=store)
    def read(key: str) -> bytes:
        note(entered[1])
        os.read(leave[0], 1)
        return b"value"

    leader = Children(lambda: read("a").decode())
    entry(entered[0])
    main = f"/proc/self/task/{threading.main_thread().native_id}/syscall"

    def interrupt() -> None:
        until(lambda: Path(main).read_text().split()[0] == "72")
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = start(interrupt)
    with pytest.raises(KeyboardInterrupt):
        read("a")
    interrupting()
    note(leave[1])
    assert leader.answers() == ["value"]
    assert read("a") == b"value"
    assert {thread: calls for thread, calls in turns._leading.items() if calls} == {}
    for fd in (*entered, *leave):
        os.close(fd)


def test_a_fork_while_other_threads_write_and_wait_leaves_their_locks_to_them(store: SharedStore) -> None:
    """Children forked while threads write, lead and wait are answered; when they have ended nothing is held."""
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
        for turn in range(40):
            assert in_child(lambda: [read(key) for key in range(turn * 50, turn * 50 + 50)]) == [  # noqa: B023
                b"%d" % key * 9 for key in range(turn * 50, turn * 50 + 50)
            ]
    finally:
        stop.set()
    assert [worker() for worker in workers] == [None] * 3
    assert_sound(store)


# Kills


def assert_sound(store: SharedStore) -> None:
    """No lock is held, every entry fits its checksum, the budget is kept."""
    locks = ByteLocks(store.path / "locks")
    try:
        assert locks.acquire(WRITER, wait=False), "the writer's lock is held"
    finally:
        locks.close()
    files = store.files()
    for row in files.head.rows():
        generation = files.head.words[row + GENERATION]
        if Segment.exists(store.path, generation):
            section = Segment(store.path, generation)
            entries = [section.index.entry(number) for number in range(1, section.index.header[COUNT] + 1)]
            assert all(section.verify(entry) and entry.digest in section for entry in entries)
    assert files.head.used() <= store.maxbytes


WRITES = {
    "bytecache.cache.shared_cache",
    *(f"bytecache.stores.shared.{name}" for name in ("segment", "index", "handle", "header", "counters")),
}


def killed_at(place: int, action: Callable[[], Any]) -> bool:
    """Runs `action` in a forked child that is killed at the `place`-th line of the store's code; false past its end."""

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal lines
        if frame.f_globals.get("__name__") not in WRITES:
            return None
        if event == "line":
            lines += 1
            if lines == place:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    lines = 0
    pid = os.fork()
    if pid == 0:
        try:
            sys.settrace(trace)
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("what", ["first value", "last value that fits", "value that needs a larger table", "clear"])
def test_a_process_may_be_killed_at_any_line(tmp_path: Path, what: str) -> None:
    """Wherever a writer is killed, others go on, no lock stays, no value is wrong, the budget is still all there."""
    count, held = {"first value": (8, 0), "last value that fits": (8, 7), "clear": (8, 8)}.get(what, (520, 512))
    place = 1
    while True:
        store = SharedStore(tmp_path / str(place), maxbytes=count * 100)
        f = bytecache.fill_once(store=store)(lambda key: b"%100d" % key)
        f.map(range(held), threads=1)
        assert f.cache_info().currsize == held
        died = killed_at(place, f.cache_clear if what == "clear" else lambda: f(held))  # noqa: B023
        assert start(lambda: [f(key) for key in range(count)])() == [b"%100d" % key for key in range(count)]  # noqa: B023
        assert_sound(store)
        stats = f.cache_stats()
        assert stats.currsize >= count - 1, f"place {place}: room was lost for more than the one value"  # never read
        assert store.currbytes == stats.currbytes, f"place {place}: the accounts do not agree"
        store.close()
        if not died:
            break
        place += 3
    assert place > 20


def test_one_that_waits_to_open_goes_on_when_the_first_is_killed(tmp_path: Path) -> None:
    """A process that waits while another prepares a new folder makes the store itself when that one is killed."""
    (tmp_path / "store").mkdir()
    entered = os.pipe()

    def prepare() -> None:
        fcntl.flock(os.open(tmp_path / "store", os.O_RDONLY), fcntl.LOCK_EX)  # as bytecache.hold does
        note(entered[1])
        signal.pause()

    first = Children(prepare)
    entry(entered[0])
    second = Children(lambda: SharedStore(tmp_path / "store", maxbytes=1000).maxbytes)
    until(lambda: waits_for_a_lock(second.pids[0]))
    os.kill(first.pids[0], signal.SIGKILL)
    assert (first.answers(), second.answers()) == ([None], [1000])
    for fd in entered:
        os.close(fd)


def value(key: int) -> bytes:
    seed = blake2b(b"%d" % key, digest_size=16).digest()
    return seed * (seed[0] % 150 + 1)


def test_300_kills_of_processes_that_fill_and_read(tmp_path: Path) -> None:
    """SIGKILL at random moments: the others go on, every value is right, figures and budget hold, no lock stays."""
    rounds, workers, drawn = 300, 4, random.Random(3)
    store = SharedStore(tmp_path / "store", maxbytes=600_000)
    filled = bytecache.fill_once(store=store, version="cleared now and then")(value)
    steady = bytecache.fill_once(store=store, version="kept")(value)
    steady("0".__len__())
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def work(seed: int, progress: int) -> None:
        keys = random.Random(seed)
        while True:
            key = keys.randrange(700)
            if filled(key) != value(key) or steady(key) != value(key):
                note(progress, "!")
                return
            note(progress)
            if keys.random() < 0.002:
                filled.cache_clear()

    def begin() -> tuple[int, int]:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reading)
                work(drawn.randrange(1 << 30), writing)
            finally:
                os._exit(1)
        os.close(writing)
        return pid, reading

    def listen(pipe: int, count: int) -> int:
        """Reads so many bytes of progress at least; how many came."""
        came = 0
        while came < count:
            assert select.select([pipe], [], [], PATIENCE_S)[0], "it stands still"
            data = os.read(pipe, min(1 << 16, count - came))
            assert data and b"!" not in data, "it ended, or read a wrong value"
            came += len(data)
        return came

    def drain(pipe: int) -> int:
        """All that a killed one still had to say."""
        came = 0
        while data := os.read(pipe, 1 << 16):
            assert b"!" not in data
            came += len(data)
        os.close(pipe)
        return came

    calls, alive = 0, [begin() for _ in range(workers)]
    try:
        for one in range(rounds):
            pid, pipe = alive.pop(drawn.randrange(workers))
            calls += listen(pipe, drawn.randrange(1, 12))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            calls += drain(pipe)
            for _, other in alive:
                while select.select([other], [], [], 0)[0]:  # what it did before the kill
                    calls += len(os.read(other, 1 << 16))
                calls += listen(other, 1)
            assert store.currbytes <= store.maxbytes, one
            alive.append(begin())
    finally:
        for pid, _ in alive:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    calls += sum(drain(pipe) for _, pipe in alive)
    os.close(log)
    assert_sound(store)
    stats = steady.cache_stats("all")
    assert calls + 1 <= stats.hits + stats.misses <= calls + 1 + rounds + workers  # each may have had one unannounced
    assert stats.currsize <= stats.misses
    assert stats.stored <= stats.currsize <= stats.stored + rounds + workers
    assert [steady(key) for key in range(700)] == [value(key) for key in range(700)]
    store.close()
