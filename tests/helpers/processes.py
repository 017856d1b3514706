"""Forked children, what they wait for, and the files that a process has open."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers.threads import PATIENCE_S

from bytecache.conformance.running import in_child as in_child


def open_files() -> set[tuple[str, str]]:
    """Return (descriptor, what it is open on) for this process; empty if there is no /proc."""
    found = set()
    for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
        except OSError:  # the descriptor that listed the folder
            pass
    return found


class Children:
    """Forked processes that run a function each and answer in JSON."""

    _unreaped: list[int] = []  # of all Children

    def __init__(self, *functions: Callable[[], Any]) -> None:
        self.pids: list[int] = []
        self._pipes: list[int] = []
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
            self.pids.append(pid), self._pipes.append(reading)
        Children._unreaped.extend(self.pids)

    def answers(self) -> list[Any]:
        """Return what each function returned; None for a child that was killed or hung."""
        found = []
        for pid, pipe in zip(self.pids, self._pipes, strict=True):
            ready = select.select([pipe], [], [], PATIENCE_S)[0]
            if not ready:
                os.kill(pid, signal.SIGKILL)
            data = os.read(pipe, 1 << 16)
            found.append(json.loads(data) if data else None)
            os.close(pipe)
            os.waitpid(pid, 0)
            Children._unreaped.remove(pid)
        return found

    @classmethod
    def kill_all(cls) -> None:
        """Kill the children whose answers were never asked for, as after a test that failed."""
        while cls._unreaped:
            os.kill(cls._unreaped[-1], signal.SIGKILL)
            os.waitpid(cls._unreaped.pop(), 0)


def send(fd: int, data: str = "x") -> None:
    """Write to a pipe or a log, without buffering."""
    os.write(fd, data.encode())


def receive(fd: int) -> str:
    """Return the next character that another process sends; fail if none comes."""
    assert select.select([fd], [], [], PATIENCE_S)[0], "no process has sent anything"
    return os.read(fd, 1).decode()


def waits_for_lock(task: Path | str) -> bool:
    """Return whether a process or thread, given its folder in /proc, pauses between two tries to get a lock.

    That is a sleep. The numbers of the system calls are x86-64's: select, pselect6, clock_nanosleep.
    """
    return (Path(task) / "syscall").read_text().split()[0] in ("23", "270", "230")
