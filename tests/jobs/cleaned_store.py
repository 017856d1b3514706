"""Four processes use one store while its files are removed, replaced, emptied and cut short.

A script: python -m jobs.cleaned_store FOLDER ROUNDS [SEED] [ACTION...]; the last line of the output is JSON. A process
that touches what was cut from a file it has mapped is ended by SIGBUS, as with any mapped file, and another one starts.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import bytecache
from bytecache.stores.shared import admin

PROCESSES, KEYS = 4, 600
OPS, WARNED, WRONG = range(3)  # words of a process's row in the shared memory
ACTIONS = ("remove", "replace", "garble", "restore", "empty", "truncate")
CUTS = ("empty", "truncate")  # what may end a process by SIGBUS


def value_of(key: int) -> bytes:
    return b"%08d" % key * (1 + key % 97)


def use(folder: str, row: Any, seed: int) -> None:
    """Call a cached function for ever, check each value, and look at the figures now and then."""
    rng = random.Random(seed)

    def count_warning(*_: Any, **__: Any) -> None:
        row[WARNED] += 1

    warnings.simplefilter("always")
    warnings.showwarning = count_warning
    store = bytecache.SharedStore(folder, maxbytes="1 MB")
    read = bytecache.fill_once(store=store, version=1)(value_of)
    while True:
        key = rng.randrange(KEYS)
        row[WRONG] += read(key) != value_of(key)
        if row[OPS] % 50 == 49:
            figures = read.cache_stats("all")
            row[WRONG] += figures.hits < 0 or figures.currbytes > 1_000_000
        if row[OPS] % 1000 == 999:
            read.cache_clear()
        row[OPS] += 1
        if not row[OPS] % 100 and os.getppid() == 1:
            os._exit(1)


def spoil(path: Path, action: str, rng: random.Random) -> None:
    """Do to a file what a cleaner, a restored backup or an accident does."""
    other = path.with_name("other.part")
    if action == "remove":
        path.unlink()
    elif action == "empty":
        os.truncate(path, 0)
    elif action == "truncate":
        os.truncate(path, rng.randrange(path.stat().st_size))
    else:  # "restore": by an identical copy, which goes out of date; "replace": by one that lacks the end
        data = path.read_bytes()
        data = rng.randbytes(len(data)) if action == "garble" else data
        other.write_bytes(data[: len(data) // 2] if action == "replace" else data)
        other.rename(path)


def main(folder: str, rounds: int, seed: int = 0, actions: tuple[str, ...] = ACTIONS) -> dict[str, Any]:
    rng, shared = random.Random(seed), memoryview(mmap.mmap(-1, 4096 * 64)).cast("Q")
    pids: dict[int, Any] = {}  # -> the process's row
    events: dict[int, int] = {}  # -> how many rounds it has seen
    ends: list[int] = []
    excess = started = killed = wrong = 0

    def start() -> None:
        nonlocal started
        row = shared[8 * (started % 4096) :][:8]
        row[OPS] = row[WARNED] = row[WRONG] = 0
        started += 1
        pid = os.fork()
        if not pid:
            signal.alarm(120)
            try:
                use(folder, row, seed * 10_000 + started)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(3)
        pids[pid], events[pid] = row, 1  # the one before it started may be what it warns of

    def reap(pid: int, status: int) -> None:
        nonlocal wrong, excess
        code = os.waitstatus_to_exitcode(status)
        row = pids.pop(pid)
        wrong += row[WRONG]
        excess += max(0, row[WARNED] - events.pop(pid))
        ends.append(code)

    def let_run(ops: int) -> None:
        goals = {pid: row[OPS] + ops for pid, row in pids.items()}
        until = time.monotonic() + 60
        while goals:
            for pid in list(goals):
                if pid in pids and pids[pid][OPS] >= goals[pid]:
                    del goals[pid]
                    continue
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    del goals[pid]
                    reap(pid, status)
                    start()
            assert time.monotonic() < until, "a process hangs"
            time.sleep(0.0005)

    for _ in range(PROCESSES):
        start()
    let_run(20)
    for _ in range(rounds):
        for pid in events:
            events[pid] += 1
        try:
            paths = sorted(path for path in Path(folder).iterdir() if not path.name.endswith(".part"))
            if paths:
                spoil(rng.choice(paths), rng.choice(actions), rng)
        except (FileNotFoundError, ValueError):  # a process has removed it in the meantime, or it is empty
            pass
        let_run(rng.randrange(1, 60))
    for pid in list(pids):  # they end as they like; one by one, so that the last one looks after the store
        os.kill(pid, signal.SIGKILL)
        reap(pid, os.waitpid(pid, 0)[1])
        killed += 1
    bytecache.SharedStore(folder, maxbytes="1 MB").close()
    return {
        "wrong": wrong, "excess_warnings": excess, "ends": {str(code): ends.count(code) for code in set(ends)},
        "damaged": admin.verify(folder)["damaged"], "started": started,
        "left": sorted(path.name for path in Path(folder).parent.iterdir()),
    }  # fmt: skip


if __name__ == "__main__":
    done = main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else 0, tuple(sys.argv[4:]) or ACTIONS)
    print(json.dumps(done))
    shutil.rmtree(sys.argv[1], ignore_errors=True)
