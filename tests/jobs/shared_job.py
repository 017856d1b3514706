"""Run as a script, by path or by -m: the jobs whose processes share one cache, for test_shared_processes.

Each run of the function is a line in the file that READS_LOG names, whatever the cache counts itself. The last line of
the output is JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import bytecache

STORE = bytecache.SharedStore(maxbytes="1 MiB")


def note_read(key: Any) -> None:
    fd = os.open(os.environ["READS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{key}\n".encode())
    os.close(fd)


@bytecache.fill_once(shared=True, maxbytes="1 MiB")
def read(key: int) -> bytes:
    note_read(key)
    return b"%d" % key * 100


@bytecache.fill_once(store=STORE)
def read_too(key: int) -> bytes:
    note_read(key)
    return b"%d" % key * 50


def plain(key: int) -> bytes:
    note_read(key)
    return b"%d" % key * 100


def value_of(key: int) -> bytes:
    note_read(key)
    return bytes([key]) * 1000


def paths() -> list[str]:
    return [str(read._cache.store.path), str(STORE.path)]


def read_all(function: Any = read, keys: Any = range(50)) -> None:
    for key in keys:
        assert function(key) == b"%d" % key * (50 if function is read_too else 100)


def work(barrier: Any, pickled: Any) -> None:
    barrier.wait(60)
    read_all(), read_all(read_too), read_all(pickled)


def workers(method: str) -> Any:
    """Two processes that read the same keys at once, through functions by name, and one that came pickled."""
    context = multiprocessing.get_context(method)
    barrier = context.Barrier(2)
    pickled = bytecache.fill_once(shared=True, maxbytes="1 MiB", version="pickled")(plain)
    both = [context.Process(target=work, args=(barrier, pickled)) for _ in range(2)]
    [one.start() for one in both], [one.join() for one in both]
    figures = [[*one.cache_info("all")[:2], *one.cache_info()[:2]] for one in (read, read_too, pickled)]
    return [[one.exitcode for one in both], figures]


class Items:
    """A map-style dataset over a cached function."""

    def __init__(self, load: Any) -> None:
        self.load = load

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> int:
        data = self.load(index)
        assert data == bytes([index]) * 1000
        return index


def epochs(method: str) -> Any:
    """Runs of the function in each of three epochs, for (room for all or half) x (persistent workers or not)."""
    from torch.utils.data import DataLoader

    multiprocessing.set_forkserver_preload(["__main__", "torch.utils.data"])
    found = {}
    for room in "all", "half":
        for persistent in (False, True):
            if room == "half" and method != "fork":
                continue  # what fits does not depend on how workers start
            # A budget of its own for each: the version makes it another function.
            budget = 100_000 if room == "all" else 50_000
            load = bytecache.fill_once(shared=True, maxbytes=budget, version=f"{room} {persistent}")(value_of)
            loader = DataLoader(
                Items(load), 5, shuffle=True, num_workers=2, multiprocessing_context=method,
                persistent_workers=persistent,
            )  # fmt: skip
            log = Path(os.environ["READS_LOG"])
            counts = []
            for _ in range(3):
                before = log.stat().st_size and log.read_text().count("\n") if log.exists() else 0
                assert sorted(int(item) for batch in loader for item in batch) == list(range(100))
                counts.append(log.read_text().count("\n") - before)
            found[f"{room} {persistent}"] = [counts, list(load.cache_info("all")[:2]), list(load.cache_info()[:2])]
            del loader
    return found


def sleep_for_ever(ready: Any) -> None:
    read_all()
    ready.set()
    signal.pause()


def end(how: str) -> Any:
    """Fills both stores, prints where they are, and ends in one way or the other."""
    read_all(), read_all(read_too)
    print(json.dumps(paths()), flush=True)
    if how == "sys.exit":
        sys.exit(3)
    if how == "exception":
        raise LookupError("uncaught")
    if how.startswith("daemons"):
        context = multiprocessing.get_context(how.split()[1])
        ready = [context.Event() for _ in range(2)]
        for one in ready:
            context.Process(target=sleep_for_ever, args=(one,), daemon=True).start()
        [one.wait(60) for one in ready]
    if how == "exec":
        os.execv(sys.executable, [sys.executable, __file__, "end", "normal"])
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how.startswith("orphan"):
        context = multiprocessing.get_context(how.split()[1])
        parent_gone, ready = os.pipe(), context.Event()
        os.set_inheritable(parent_gone[0], True)
        context.Process(target=outlive, args=(os.getpid(), ready)).start()
        ready.wait(60)
        os.kill(os.getpid(), signal.SIGKILL)
    return None


def outlive(parent: int, ready: Any) -> None:
    read_all()
    ready.set()
    while os.getppid() == parent or Path(f"/proc/{parent}").exists():
        time.sleep(0.01)


def daemonize() -> None:
    """Fills, forks a child that goes on alone, and ends; the child prints how it fares."""
    read_all()
    if pid := os.fork():
        print(json.dumps(paths()), flush=True)
        del pid
        return
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.001)
    read_all()
    print(json.dumps([read.cache_info()[:2], read.cache_info("all")[:2]]), flush=True)


def rank() -> Any:
    """What one of a launcher's processes sees; it stays until its standard input ends."""
    read_all()
    print(json.dumps(paths()), flush=True)
    sys.stdin.read()
    return list(read.cache_info("all")[:2])


def children() -> Any:
    """A run that runs this script again, which is of the same run."""
    read_all()
    done = subprocess.run([sys.executable, __file__, "rank"], input="", capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    result = globals()[sys.argv[1]](*sys.argv[2:])
    if result is not None:
        print(json.dumps(result))
