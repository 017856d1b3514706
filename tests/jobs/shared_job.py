"""Jobs of tests/stores/shared/test_processes.py, whose processes share a cache: run as a script, by path or by -m.

Each run of a cached function is a line in the file that READS_LOG names, whatever the cache itself counts. The last
line of the output is JSON.
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

from helpers.internals import store_of

import bytecache

STORE = bytecache.SharedStore(maxbytes="1 MiB")


def log_read(key: Any) -> None:
    fd = os.open(os.environ["READS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{key}\n".encode())
    os.close(fd)


def logged_reads() -> int:
    log = Path(os.environ["READS_LOG"])
    return log.read_text().count("\n") if log.exists() else 0


@bytecache.fill_once(shared=True, maxbytes="1 MiB")
def read(key: int) -> bytes:
    log_read(key)
    return b"%d" % key * 100


@bytecache.fill_once(store=STORE)
def read_in_store(key: int) -> bytes:
    log_read(key)
    return b"%d" % key * 50


def plain_read(key: int) -> bytes:
    log_read(key)
    return b"%d" % key * 100


def read_item(key: int) -> bytes:
    log_read(key)
    return bytes([key]) * 1000


def paths() -> list[str]:
    return [str(store_of(read).path), str(STORE.path)]


def read_all(function: Any = read) -> None:
    for key in range(50):
        assert function(key) == b"%d" % key * (50 if function is read_in_store else 100)


def work(barrier: Any, pickled: Any) -> None:
    barrier.wait(60)
    read_all(), read_all(read_in_store), read_all(pickled)


def workers(method: str) -> Any:
    """Return exit codes of two processes that read the same keys at once, and the counters of their three functions.

    Two functions are found by name, the third comes pickled.
    """
    context = multiprocessing.get_context(method)
    barrier = context.Barrier(2)
    pickled = bytecache.fill_once(shared=True, maxbytes="1 MiB", version="pickled")(plain_read)
    processes = [context.Process(target=work, args=(barrier, pickled)) for _ in range(2)]
    [process.start() for process in processes], [process.join() for process in processes]
    counts = [[*one.cache_info("all")[:2], *one.cache_info()[:2]] for one in (read, read_in_store, pickled)]
    return [[process.exitcode for process in processes], counts]


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
    """Return the reads in each of three epochs, for a budget of all items or half, and persistent workers or not."""
    from torch.utils.data import DataLoader

    multiprocessing.set_forkserver_preload(["__main__", "torch.utils.data"])
    results = {}
    for fitting in "all", "half":
        for persistent in (False, True):
            if fitting == "half" and method != "fork":
                continue  # what fits does not depend on how workers start
            # The version makes it another function, with a budget of its own.
            budget = 100_000 if fitting == "all" else 50_000
            load = bytecache.fill_once(shared=True, maxbytes=budget, version=f"{fitting} {persistent}")(read_item)
            loader = DataLoader(
                Items(load), 5, shuffle=True, num_workers=2, multiprocessing_context=method,
                persistent_workers=persistent,
            )  # fmt: skip
            counts = []
            for _ in range(3):
                before = logged_reads()
                assert sorted(int(item) for batch in loader for item in batch) == list(range(100))
                counts.append(logged_reads() - before)
            results[f"{fitting} {persistent}"] = [counts, load.cache_info("all")[:2], load.cache_info()[:2]]
            del loader
    return results


def sleep_for_ever(ready: Any) -> None:
    read_all()
    ready.set()
    signal.pause()


def end(how: str) -> Any:
    """Fill both stores, print their paths, and end in one of the ways."""
    read_all(), read_all(read_in_store)
    print(json.dumps(paths()), flush=True)
    if how == "sys.exit":
        sys.exit(3)
    if how == "exception":
        raise LookupError("uncaught")
    if how.startswith("daemons"):
        context = multiprocessing.get_context(how.split()[1])
        ready = [context.Event() for _ in range(2)]
        for event in ready:
            context.Process(target=sleep_for_ever, args=(event,), daemon=True).start()
        [event.wait(60) for event in ready]
    if how == "exec":
        os.execv(sys.executable, [sys.executable, __file__, "end", "normal"])
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how.startswith("orphan"):
        context = multiprocessing.get_context(how.split()[1])
        ready = context.Event()
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
    """Fill a store, fork a child, and end; the child goes on alone and prints its counters."""
    read_all()
    if os.fork():
        print(json.dumps(paths()), flush=True)
        return
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.001)
    read_all()
    print(json.dumps([read.cache_info()[:2], read.cache_info("all")[:2]]), flush=True)


def rank() -> Any:
    """Print the paths, as one of a launcher's processes; return the counters once standard input ends."""
    read_all()
    print(json.dumps(paths()), flush=True)
    sys.stdin.read()
    return list(read.cache_info("all")[:2])


def children() -> Any:
    """Return the counters that a program sees which this run starts: this script again."""
    read_all()
    done = subprocess.run([sys.executable, __file__, "rank"], input="", capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    result = globals()[sys.argv[1]](*sys.argv[2:])
    if result is not None:
        print(json.dumps(result))
