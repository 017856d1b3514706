"""A plan for a folder of files, from a sample of them: each is read, and goes through the stages of a pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from time import perf_counter, thread_time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..system.progress import progress_bar
from .cost_model import Floats, fit_line, touched
from .plan import Plan, make_plan
from .workload import Concurrency, Workload

SAMPLED_FILES = 300  # the mean of files that differ as photographs do is then known to a few percent
_MOST_RUNS, _LONG_S = 3, 0.02  # of a stage with one file, of which the median counts: fewer if they take long
_LEFT_OUT = 0.01  # of the sample: the slowest, which may be an accident
_CURVE_POINTS = 49
Stage = Callable[[Any], Any]


class Sample(NamedTuple):
    """Files that went through all stages: bytes after each stage, seconds of CPU time and of waiting, (files, stages).

    refused: path and reason of those that did not.
    """

    sizes: Floats
    cpu: Floats
    wait: Floats
    refused: list[tuple[str, str]]


class FolderPlan(NamedTuple):
    """A plan for a folder. files, nbytes: of all of it. sampled: how many files were measured, or refused."""

    files: int
    nbytes: int
    sampled: int
    refused: list[tuple[str, str]]
    plan: Plan

    def bytes_after(self, stage: int) -> int:
        """Return the bytes of all files after a stage, as the sample has it."""
        return round(self.plan.workload.bytes_after(stage))

    def budgets(self) -> list[int]:
        """Return budgets for a curve: from little to all that can be kept, and the plan's own, in geometric steps."""
        wholes = [self.bytes_after(k) for k in range(len(self.plan.stages))]
        own = self.plan.maxbytes or max(wholes)
        least, most = min(min(wholes) / 32, own / 2), max(1.25 * max(wholes), own)
        return sorted({*map(round, np.geomspace(max(least, 1), most, _CURVE_POINTS).tolist()), *wholes, own})


def plan_folder(
    paths: Sequence[str],
    nbytes: NDArray[np.int64],
    stages: Sequence[tuple[str, Stage]],
    maxbytes: int,
    concurrency: Concurrency,
    *,
    sizeof: Callable[[Any], int],
    read_s: float | None = None,
    progress: bool = False,
) -> FolderPlan:
    """Return the plan for files of these sizes, from SAMPLED_FILES of them, the same ones each time.

    stages: names and functions, of which the first takes a path and waits, and each other one takes what the one before
    returns, and computes. sizeof: what a value takes of the budget, in bytes. read_s: what a read waits for, in
    seconds; None: what it waits for the storage, since the page cache is told to drop the files before. Raises
    FileNotFoundError if no file of the sample goes through all stages.
    """
    chosen = [paths[n] for n in draw_sample(nbytes, SAMPLED_FILES)]
    sample = measure_files(chosen, [stage for _, stage in stages], sizeof, cold=read_s is None, progress=progress)
    if not len(sample.sizes):
        path, reason = sample.refused[0]
        raise FileNotFoundError(
            f"expected images, got none among the {len(chosen):,} files of the sample; the first: {path}: {reason}"
        )
    cpu, wait = smooth(sample.sizes, sample.cpu), smooth(sample.sizes, sample.wait)
    if read_s is not None:
        wait[:, 0] = read_s
    items = round(len(paths) * len(sample.sizes) / len(chosen))
    workload = Workload(sample.sizes, cpu, wait, items, concurrency)
    plan = make_plan(workload, [name for name, _ in stages], maxbytes)
    return FolderPlan(len(paths), int(nbytes.sum()), len(chosen), sample.refused, plan)


def draw_sample(nbytes: NDArray[np.int64], most: int) -> list[int]:
    """Return the positions of at most so many files, in a random order that is the same each time.

    In the order of their sizes each n-th file is drawn, from a random one on, so that the sample's bytes are much like
    those of all (Cochran, "Sampling Techniques", Wiley 1977, chapter 8: systematic sampling).
    """
    rng, drawn = np.random.default_rng(0), min(most, len(nbytes))
    places = ((np.arange(drawn) + rng.random()) * len(nbytes) / drawn).astype(np.intp)
    chosen: list[int] = rng.permutation(np.argsort(nbytes, kind="stable")[places]).tolist()
    return chosen


def measure_files(
    paths: Sequence[str],
    stages: Sequence[Stage],
    sizeof: Callable[[Any], int],
    *,
    cold: bool = True,
    progress: bool = False,
) -> Sample:
    """Send each file through the stages, one after the other, and return what that takes.

    cold: drop the files from the page cache before. A file for which a stage raises an Exception is refused.
    """
    rows: list[list[tuple[int, float, float]]] = []
    refused: list[tuple[str, str]] = []
    with progress_bar("measure", len(paths), progress) as advance:
        for path in paths:
            try:
                if not rows:  # the first one that is good opens what the stages need: packages, buffers
                    _measure_file(path, stages, sizeof)
                if cold:
                    _drop_from_page_cache(path)
                rows.append(_measure_file(path, stages, sizeof))
            except Exception as exc:
                reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
                refused.append((path, reason or type(exc).__name__))
            advance(1)
    sizes, cpu, wait = np.array(rows, np.float64).reshape(-1, len(stages), 3).transpose(2, 0, 1)
    return Sample(sizes, cpu, wait, refused)


def _measure_file(path: str, stages: Sequence[Stage], sizeof: Callable[[Any], int]) -> list[tuple[int, float, float]]:
    value, row = path, []
    for k, stage in enumerate(stages):
        argument = value
        value, cpu_s, wait_s = _run(stage, argument)
        if k:  # its time off the processor is that of other programs, not of waiting for anything
            cpu_s, wait_s = _median_s(stage, argument, cpu_s), 0.0
        row.append((sizeof(value), cpu_s, wait_s))
    return row


def _run(stage: Stage, argument: Any) -> tuple[Any, float, float]:
    """Return what a stage returns, and its seconds of CPU time and of waiting."""
    cpu_s, started_s = thread_time(), perf_counter()
    value = stage(argument)
    wall_s, cpu_s = perf_counter() - started_s, thread_time() - cpu_s
    return value, cpu_s, max(0.0, wall_s - cpu_s)


def _median_s(stage: Stage, argument: Any, first_s: float) -> float:
    seconds = [first_s]
    while len(seconds) < _MOST_RUNS and sum(seconds) < _LONG_S:
        seconds.append(_run(stage, argument)[1])
    return float(np.median(seconds))


def _drop_from_page_cache(path: str) -> None:
    """Tell the system that a file's pages are not needed, where it can be told; it keeps those not written yet."""
    if hasattr(os, "posix_fadvise"):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def smooth(sizes: Floats, seconds: Floats) -> Floats:
    """Return the seconds by a straight line over bytes for each stage, (files, stages), as a staged cache sees them.

    What is kept must not be chosen by accidents of the measurement. A line goes through most of the files, and is then
    raised so that its sum is that of all, but for the slowest of them.
    """
    x, lines = touched(sizes), np.empty_like(seconds)
    for k in range(sizes.shape[1]):
        expected = fit_line(x[:, k], seconds[:, k]).at(x[:, k])
        late = np.argsort(seconds[:, k] - expected, kind="stable")
        counted = late[: len(late) - round(len(late) * _LEFT_OUT)]
        total, by_line = float(seconds[counted, k].sum()), float(expected[counted].sum())
        lines[:, k] = expected * (total / by_line) if by_line > 0 else total / len(counted)
    return lines
