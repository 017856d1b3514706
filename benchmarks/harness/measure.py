"""What the benchmarks share: interleaved rounds, medians with spread, a header that says what was measured where."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import bytecache


class Summary(NamedTuple):
    """Median, 10th and 90th percentile of some figures."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def interleave(functions: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Seconds of each call of each function: every round calls all of them once, beginning with another each time."""
    names = list(functions)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    gc.disable()
    try:
        for turn in range(-warmup, rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                start = perf_counter()
                functions[name]()
                end = perf_counter()
                if turn >= 0:
                    seconds[name].append(end - start)
    finally:
        gc.enable()
    return seconds


def others_cpu_s() -> float:
    """Processor seconds that other processes have used since the machine started; 0 where /proc is not.

    Take it before and after a measurement: on a busy machine a figure for threads says little.
    """
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq = (int(field) for field in fields[:7])
    own = os.times()
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - own.user - own.system


class Absent(Exception):
    """A contender cannot be measured here; says why."""


class Others:
    """How many cores other processes keep busy, from its making on."""

    def __init__(self) -> None:
        self._start, self._used = perf_counter(), others_cpu_s()

    def busy_cores(self) -> float:
        """The mean until now."""
        return max(0.0, (others_cpu_s() - self._used) / (perf_counter() - self._start))


def pss_bytes(pid: int) -> int:
    """Memory of a process, pages that n processes share counted as an nth (Linux)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def summary(figures: Iterable[float]) -> Summary:
    """Median, 10th and 90th percentile, by linear interpolation."""
    ordered = sorted(figures)

    def quantile(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    return Summary(quantile(0.5), quantile(0.1), quantile(0.9))


def speed(seconds: Mapping[str, Sequence[float]], name: str, baseline: str) -> Summary:
    """How many times faster `name` was than `baseline`, compared within each round, so that drift cancels."""
    return summary(slow / fast for slow, fast in zip(seconds[baseline], seconds[name], strict=True))


def per_call_us(seconds: Mapping[str, Sequence[float]], calls: int) -> dict[str, list[float]]:
    """Microseconds of a call in loops of so many; the loop that calls nothing, named "", is taken off."""
    empty = seconds[""]
    return {
        name: [1e6 * (time - none) / calls for time, none in zip(times, empty, strict=True)]
        for name, times in seconds.items()
        if name
    }


def environment(*packages: str) -> dict[str, str]:
    """Versions of Python, bytecache and the packages named, the processor, and how many cores may be used."""
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
