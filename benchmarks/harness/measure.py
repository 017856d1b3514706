"""Interleaved rounds, medians with their spread, and a header that says what was measured on which machine."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import bytecache

T = TypeVar("T")


class Absent(Exception):
    """A contender cannot be measured here; the message gives the reason."""


class Summary(NamedTuple):
    """The median, 10th and 90th percentile of a sample."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def turns(names: Sequence[T], number: int) -> list[T]:
    """Return the names in the order of a round: each round starts with a different one."""
    first = number % max(1, len(names))
    return [*names[first:], *names[:first]]


def interleave(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    warmup: int = 1,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of each call: every round calls each function once, and starts with a different one."""
    names = list(functions)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    gc.disable()
    try:
        for number in range(-warmup, rounds):
            for name in turns(names, number):
                start = clock()
                functions[name]()
                end = clock()
                if number >= 0:
                    seconds[name].append(end - start)
    finally:
        gc.enable()
    return seconds


def others_cpu_s() -> float:
    """Return the processor seconds that other processes have used since the machine booted; 0 without /proc.

    Take it before and after a measurement: timings of threads mean little on a busy machine.
    """
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq = (int(field) for field in fields[:7])
    own = os.times()
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - own.user - own.system


def session_cpu_s() -> float:
    """Return the processor seconds of this process's session so far: its own, and those that it has started (Linux)."""
    session, ticks = os.getsid(0), 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended, and is among the children of another one
            continue
        if int(fields[3]) == session:
            ticks += sum(int(field) for field in fields[11:15])  # its own, and of children that have ended
    return ticks / os.sysconf("SC_CLK_TCK")


class OtherLoad:
    """How many cores other processes keep busy, measured from its construction."""

    def __init__(self) -> None:
        self._start, self._used = perf_counter(), others_cpu_s()

    def busy_cores(self) -> float:
        """Return the mean until now."""
        return max(0.0, (others_cpu_s() - self._used) / (perf_counter() - self._start))


def pss_bytes(pid: int) -> int:
    """Return the memory of a process, with a page shared by n processes counted as 1/n (Linux)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def summary(sample: Iterable[float]) -> Summary:
    """Return the median, 10th and 90th percentile, by linear interpolation."""
    ordered = sorted(sample)

    def quantile(fraction: float) -> float:
        position = fraction * (len(ordered) - 1)
        below = int(position)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (position - below) * (ordered[above] - ordered[below])

    return Summary(quantile(0.5), quantile(0.1), quantile(0.9))


def speed(seconds: Mapping[str, Sequence[float]], name: str, baseline: str) -> Summary:
    """Return how many times faster `name` was than `baseline`, compared within each round so that drift cancels."""
    return summary(slow / fast for slow, fast in zip(seconds[baseline], seconds[name], strict=True))


def per_call_us(seconds: Mapping[str, Sequence[float]], calls: int) -> dict[str, list[float]]:
    """Return microseconds per call for loops of `calls` calls, less those of the empty loop, which is named ""."""
    empty = seconds[""]
    return {
        name: [1e6 * (time - none) / calls for time, none in zip(times, empty, strict=True)]
        for name, times in seconds.items()
        if name
    }


def environment(*packages: str) -> dict[str, str]:
    """Return the versions of Python, bytecache and `packages`, the processor, and the number of usable cores."""
    found = {"python": platform.python_version(), "bytecache": bytecache.__version__}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found | {"system": platform.system(), "processor": _processor(), "cores": str(_cores())}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
