"""One cache for all processes of a run: start methods, launchers, how runs end, processes that are killed."""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import signal
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from helpers.internals import STORE_WRITE_MODULES, assert_sound
from helpers.interrupts import killed_at
from helpers.processes import Children, receive, send, waits_for_lock
from helpers.threads import PATIENCE_S, start, until

import bytecache
from bytecache import SharedStore
from bytecache.stores.shared import admin

TESTS = Path(__file__).parents[2]
JOB = TESTS / "jobs" / "shared_job.py"
WRITE_MODULES = STORE_WRITE_MODULES | {"bytecache.system.file_io"}
METHODS = ["fork", "forkserver", "spawn"]
LAUNCHERS = ("TORCHELASTIC_", "MASTER_", "LOCAL_RANK", "SLURM_", "PMIX_")


@pytest.fixture
def run_of_its_own(tmp_path: Path) -> dict[str, str]:
    """An environment in which a process starts a run of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BYTECACHE_", *LAUNCHERS))}
    return {**kept, "READS_LOG": str(tmp_path / "reads"), "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}


def reads(environment: dict[str, str]) -> list[int]:
    """Return the keys that were read, sorted."""
    log = Path(environment["READS_LOG"])
    return sorted(map(int, log.read_text().split())) if log.exists() else []


def job(environment: dict[str, str], *arguments: str, code: int = 0, by_name: bool = False) -> list[Any]:
    """Return the lines of JSON that a job prints."""
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
    """Two workers together read each key once, even through a pickled function; the counters outlive them."""
    ((codes, counts),) = job(run_of_its_own, "workers", method, by_name=by_name)
    assert codes == [0, 0]
    assert counts == [[50, 50, 0, 0]] * 3
    assert reads(run_of_its_own) == sorted([*range(50)] * 3)


@pytest.mark.parametrize("method", METHODS)
def test_a_dataloader_reads_every_item_once(run_of_its_own: dict[str, str], method: str) -> None:
    """100 items, 3 epochs, 2 workers: 100 reads in all; if half of them fit, 50 hits (± 1) in each later epoch."""
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


def test_a_program_that_the_run_starts_belongs_to_the_run(run_of_its_own: dict[str, str]) -> None:
    """A program that a process starts by exec finds its stores, and counts into the same counters."""
    assert job(run_of_its_own, "children") == [[50, 50]]
    assert reads(run_of_its_own) == [*range(50)]


def test_runs_do_not_see_each_other(run_of_its_own: dict[str, str]) -> None:
    """Two runs of one script at the same time have separate folders, and each reads its keys."""
    first, second = rank(run_of_its_own), rank(run_of_its_own)
    paths = [path for process in (first, second) for path in json.loads(process.stdout.readline())]
    assert len(set(paths)) == 4
    assert [finish(process) for process in (first, second)] == [[0, 50], [0, 50]]
    assert not any(Path(path).exists() for path in paths)


@pytest.mark.parametrize(
    "launched",
    [
        {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"},
        {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0"},
    ],
    ids=["torchrun", "slurm"],
)
def test_ranks_of_a_launcher_share_one_cache(run_of_its_own: dict[str, str], launched: dict[str, str]) -> None:
    """Processes without a common ancestor in the run find one store by the variables that their launcher sets."""
    names = {"LOCAL_RANK", "SLURM_PROCID"}
    first, second = (rank({**run_of_its_own, **launched, **dict.fromkeys(names, str(number))}) for number in range(2))
    paths, paths_of_second = (json.loads(process.stdout.readline()) for process in (first, second))
    assert paths == paths_of_second and Path(paths[0]).exists()
    assert reads(run_of_its_own) == [*range(50)]
    assert [finish(process) for process in (first, second)] == [[50, 50], [50, 50]]
    assert not any(Path(path).exists() for path in paths)


def rank(environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a process that fills the stores, prints their paths, and ends when its standard input does."""
    return subprocess.Popen(
        [sys.executable, str(JOB), "rank"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> Any:
    """Return the JSON that a rank prints last."""
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


# How runs end


@pytest.mark.parametrize(
    "how, code",
    [("normal", 0), ("sys.exit", 3), ("exception", 1), ("exec", 0), *((f"daemons {method}", 0) for method in METHODS)],
)
def test_a_store_without_a_path_is_removed_when_the_run_ends(
    run_of_its_own: dict[str, str], how: str, code: int
) -> None:
    """However the last process of a run ends, unless it is killed, its folders are removed."""
    printed = job(run_of_its_own, "end", how, code=code)
    assert printed and len(printed[0]) == 2
    until(lambda: not any(Path(path).exists() for path in printed[-1]))  # a fork server ends after its run


def test_a_killed_runs_store_is_swept_by_the_next(run_of_its_own: dict[str, str]) -> None:
    """SIGKILL leaves the folders; the next run that makes a store removes them, and only them."""
    (paths,) = job(run_of_its_own, "end", "killed", code=-signal.SIGKILL)
    assert all(Path(path).exists() for path in paths)
    job(run_of_its_own, "end", "normal")
    assert not any(Path(path).exists() for path in paths)


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_outlives_its_parent_removes_the_store(run_of_its_own: dict[str, str], method: str) -> None:
    """If the parent was killed, the last worker that ends removes the folders."""
    with open(Path(run_of_its_own["READS_LOG"]).with_name("out"), "w+") as out:
        process = subprocess.Popen(
            [sys.executable, str(JOB), "end", f"orphan {method}"], env=run_of_its_own, stdout=out
        )
        assert process.wait(60) == -signal.SIGKILL
        out.seek(0)
        path = json.loads(out.readline())[0]
    until(lambda: not Path(path).exists())


def test_a_child_whose_parent_ended_before_its_call_makes_the_store_again(run_of_its_own: dict[str, str]) -> None:
    """A daemonized child makes the store again if it was removed with its last user, and removes it at its end."""
    paths, (of_child, of_all) = job(run_of_its_own, "daemonize")
    assert (of_child, of_all) == ([0, 50], [0, 50])
    assert sorted(reads(run_of_its_own)) == sorted([*range(50), *range(50)])
    assert not any(Path(path).exists() for path in paths)


# Processes that are killed


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "what", ["first value", "last value that fits", "value that needs a larger table", "clear", "discard"]
)
def test_a_process_may_be_killed_at_any_line(tmp_path: Path, what: str) -> None:
    """Wherever a writer is killed, others go on, no lock stays, no value is wrong, no part of the budget is lost."""
    count, stored = {
        "first value": (8, 0), "last value that fits": (8, 7), "clear": (8, 8), "discard": (9, 8)
    }.get(what, (520, 512))  # fmt: skip
    line = 1
    while True:
        store = SharedStore(tmp_path / str(line), maxbytes=count * 100)
        f = bytecache.fill_once(store=store)(lambda key: b"%100d" % key)
        f.map(range(stored), threads=1)
        assert f.cache_info().currsize == stored
        works = {"clear": f.cache_clear, "discard": lambda: f.cache_discard(3)}  # noqa: B023
        died = killed_at(line, WRITE_MODULES, works.get(what, lambda: f(stored)))  # noqa: B023
        assert admin.verify(store.path)["damaged"] == [], f"line {line}: it looks damaged until somebody else writes"
        assert start(lambda: [f(key) for key in range(count)])() == [b"%100d" % key for key in range(count)]  # noqa: B023
        assert_sound(store)
        stats = f.cache_stats()
        assert stats.currsize >= count - 1, f"line {line}: more was lost than the one value"  # never read
        assert store.currbytes == stats.currbytes, f"line {line}: store and function disagree"
        store.close()
        if not died:
            break
        line += 3
    assert line > 20


def test_a_process_that_waits_to_open_goes_on_when_the_first_is_killed(tmp_path: Path) -> None:
    """If a process is killed while it prepares a folder, one that waits for it makes the store."""
    (tmp_path / "store").mkdir()
    entered = os.pipe()

    def prepare() -> None:
        fcntl.flock(os.open(tmp_path / "store", os.O_RDONLY), fcntl.LOCK_EX)  # as attaching to the folder does
        send(entered[1])
        signal.pause()

    first = Children(prepare)
    receive(entered[0])
    second = Children(lambda: SharedStore(tmp_path / "store", maxbytes=1000).maxbytes)
    until(lambda: waits_for_lock(f"/proc/{second.pids[0]}"))
    os.kill(first.pids[0], signal.SIGKILL)
    assert (first.answers(), second.answers()) == ([None], [1000])
    for fd in entered:
        os.close(fd)


def value(key: int) -> bytes:
    seed = blake2b(b"%d" % key, digest_size=16).digest()
    return seed * (seed[0] % 150 + 1)


class Worker:
    """A process that reads random keys for ever and reports each: "x" if the values were right, else "!"."""

    def __init__(self, functions: list[Any], seed: int) -> None:
        self._pipe, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._pipe)
                self._work(functions, random.Random(seed), writing)
            finally:
                os._exit(1)
        os.close(writing)

    def _work(self, functions: list[Any], drawn: random.Random, report: int) -> None:
        while True:
            key = drawn.randrange(700)
            if any(function(key) != value(key) for function in functions):
                send(report, "!")
                return
            send(report)
            if drawn.random() < 0.002:
                functions[0].cache_clear()

    def wait_for_reads(self, count: int) -> int:
        """Return how many reads were reported, as soon as there are `count`."""
        reads = 0
        while reads < count:
            assert select.select([self._pipe], [], [], PATIENCE_S)[0], "it stands still"
            data = os.read(self._pipe, min(1 << 16, count - reads))
            assert data and b"!" not in data, "it ended, or read a wrong value"
            reads += len(data)
        return reads

    def reported_reads(self) -> int:
        """Return how many reads were reported by now and not counted before."""
        reads = 0
        while select.select([self._pipe], [], [], 0)[0]:
            data = os.read(self._pipe, 1 << 16)
            assert data, "it ended"
            reads += len(data)
        return reads

    def kill(self) -> int:
        """Kill it; return how many reads it had reported that were not counted before."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        reads = 0
        while data := os.read(self._pipe, 1 << 16):
            assert b"!" not in data
            reads += len(data)
        os.close(self._pipe)
        return reads


@pytest.mark.exhaustive
def test_300_kills_of_processes_that_fill_and_read(tmp_path: Path) -> None:
    """SIGKILL at random moments: others go on, every value is right, counters and budget hold, no lock stays."""
    rounds, count, drawn = 300, 4, random.Random(3)
    store = SharedStore(tmp_path / "store", maxbytes=600_000)
    cleared = bytecache.fill_once(store=store, version="cleared now and then")(value)
    kept = bytecache.fill_once(store=store, version="kept")(value)
    kept(1)

    def start_worker() -> Worker:
        return Worker([cleared, kept], drawn.randrange(1 << 30))

    reads, workers = 1, [start_worker() for _ in range(count)]
    try:
        for kills in range(rounds):
            victim = drawn.choice(workers)
            reads += victim.wait_for_reads(drawn.randrange(1, 12))
            workers.remove(victim)
            reads += victim.kill()
            for worker in workers:
                reads += worker.reported_reads()  # before the kill; then the next one
                reads += worker.wait_for_reads(1)
            assert store.currbytes <= store.maxbytes, kills
            workers.append(start_worker())
    finally:
        reads += sum(worker.kill() for worker in workers)
    assert_sound(store)
    stats = kept.cache_stats("all")
    assert reads <= stats.hits + stats.misses <= reads + rounds + count  # each may have had one that it did not report
    assert stats.currsize <= stats.misses
    assert stats.stored <= stats.currsize <= stats.stored + rounds + count
    assert [kept(key) for key in range(700)] == [value(key) for key in range(700)]
    store.close()
