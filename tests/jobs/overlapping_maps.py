"""Processes map overlapping lists of keys through one shared store, on several threads each, by a batched function.

A script: python -m jobs.overlapping_maps FOLDER ROUNDS [SEED]; the last line of the output is JSON. In each round all
map random lists of the round's own keys at once. In some rounds some keys raise, a call returns too few values, or a
process is killed at any moment, and another one started. `wrong` counts results that are neither the key's value nor
what its read has raised, `again` the keys that were read more than once, though no reader of theirs had been killed.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from typing import Any

import bytecache

PROCESSES, THREADS, KEYS = 4, 8, 24
PATIENCE_S = 60
Key = tuple[int, int]  # the round, and a number below KEYS


def value_of(key: Key) -> bytes:
    return b"%d %d;" % key * (1 + key[1])


def raises(key: Key, trouble: str) -> bool:
    return trouble == "exceptions" and key[1] % 4 == 0


class Process:
    """One of the processes: it maps what it is told, and notes in its row how often it has read each key."""

    def __init__(self, folder: str, row: Any) -> None:
        self._row, self._lock = row, threading.Lock()
        self._trouble, self._short = "", False
        store = bytecache.SharedStore(folder, maxbytes="256 MB")
        self._read = bytecache.fill_once(store=store, batched=True, version=1)(self.read)

    def read(self, keys: list[Key]) -> list[Any]:
        time.sleep(0.001 if len(keys) % 3 else 0)
        with self._lock:
            if self._trouble == "lengths" and not self._short:
                self._short = True
                return [value_of(key) for key in keys[1:]]
            for _, number in keys:
                self._row[number] += 1
        return [LookupError(key) if raises(key, self._trouble) else value_of(key) for key in keys]

    def round(self, number: int, trouble: str, seed: int) -> int:
        """Map on all threads, and return how many results were wrong."""
        self._trouble, self._short = trouble, False
        wrong: list[int] = []
        start = threading.Barrier(THREADS)

        def work(rng: random.Random) -> None:
            keys = [(number, rng.randrange(KEYS)) for _ in range(rng.randrange(1, KEYS))]
            start.wait(PATIENCE_S)
            found = self._read.map(keys, return_exceptions=True)
            wrong.append(sum(not self._is_right(*one) for one in zip(keys, found, strict=True)))

        threads = [threading.Thread(target=work, args=(random.Random(seed * 100 + n),)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(wrong) + THREADS - len(wrong)

    def _is_right(self, key: Key, value: Any) -> bool:
        if self._trouble == "lengths" and isinstance(value, ValueError):
            return True
        if raises(key, self._trouble):
            return isinstance(value, LookupError) and value.args == (key,)
        return bool(value == value_of(key))


def main(folder: str, rounds: int, seed: int = 0) -> dict[str, Any]:
    rng, shared = random.Random(seed), memoryview(mmap.mmap(-1, PROCESSES * KEYS * 8)).cast("Q")
    rows = [shared[n * KEYS : (n + 1) * KEYS] for n in range(PROCESSES)]
    pids, pipes = [0] * PROCESSES, [(0, 0)] * PROCESSES
    wrong = again = killed = unread = 0

    def fork(n: int) -> None:
        (theirs, ours), (answers, answer) = os.pipe(), os.pipe()
        pids[n] = os.fork()
        if not pids[n]:
            try:
                os.close(ours)
                process = Process(folder, rows[n])
                for line in open(theirs):
                    signal.alarm(2 * PATIENCE_S)
                    os.write(answer, b"%d\n" % process.round(*json.loads(line)))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(3)
        os.close(theirs), os.close(answer)
        pipes[n] = ours, answers

    def end(n: int) -> None:
        os.kill(pids[n], signal.SIGKILL)
        os.waitpid(pids[n], 0)
        os.close(pipes[n][0]), os.close(pipes[n][1])

    for n in range(PROCESSES):
        fork(n)
    for number in range(rounds):
        trouble = rng.choice(["", "exceptions", "lengths", "kill"])
        for n in range(len(shared)):
            shared[n] = 0
        for n in range(PROCESSES):
            os.write(pipes[n][0], json.dumps([number, trouble, rng.randrange(1 << 30)]).encode() + b"\n")
        victim = rng.randrange(PROCESSES) if trouble == "kill" else None
        if victim is not None:
            time.sleep(rng.random() * 0.02)
            end(victim)
            killed += 1
        for n in set(range(PROCESSES)) - {victim}:
            assert select.select([pipes[n][1]], [], [], PATIENCE_S)[0], f"a process hangs in round {number}, {trouble}"
            answer = os.read(pipes[n][1], 100)
            assert answer, f"a process has ended in round {number}, {trouble}"
            wrong += int(answer)
        reads = [sum(rows[n][key] for n in range(PROCESSES) if n != victim) for key in range(KEYS)]
        again += sum(count > 1 for key, count in enumerate(reads) if not raises((number, key), trouble))
        unread += not any(reads) and victim is None
        if victim is not None:
            fork(victim)
    for n in range(PROCESSES):
        end(n)
    return {"wrong": wrong, "again": again, "killed": killed, "rounds_without_reads": unread}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else 0)))
    shutil.rmtree(sys.argv[1], ignore_errors=True)
