"""The cases in which loaders are compared, and the run of one loader in one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from benchmarks.harness import cgroup
from benchmarks.loaders import LATENCY_MS, LOADERS, Job
from benchmarks.workloads import http_server
from benchmarks.workloads.data_set import Data
from benchmarks.workloads.files import scratch
from benchmarks.workloads.http_server import file_server

# Of the limit, not for the cache but for workers and batches: the next if one is too low.
OTHER_BYTES = (50_000_000, 75_000_000, 100_000_000, 150_000_000)
KILLED = "killed by the memory limit"
PLENTY_BYTES = 10**9
SMALLEST_LIMIT_BYTES = 200_000_000  # more than half of a small data set: workers need it, with or without a cache
SAMPLES_PER_S = 10


@contextmanager
def storage(case: str, data: Data) -> Iterator[str]:
    """Yield where the loaders find the data: a folder or a URL."""
    if case not in LATENCY_MS:
        yield str(data.folder)
        return
    with file_server(data.folder, LATENCY_MS[case]) as url:
        yield url


def why_not(case: str) -> str:
    """Return why a case cannot be measured here; empty if it can."""
    if case in LATENCY_MS:
        return http_server.why_not(LATENCY_MS[case])
    return cgroup.why_not() if case == "half" else ""


def limit_bytes(case: str, data: Data) -> int:
    """Return the memory that a loader may use in addition to its libraries."""
    return PLENTY_BYTES + 3 * data.nbytes if case == "warm" else max(data.nbytes // 2, SMALLEST_LIMIT_BYTES)


def prepare(case: str, data: Data, format: str) -> None:
    """Read a loader's files into the page cache before its memory counts; or evict them if memory is limited."""
    os.sync()  # dirty pages cannot be dropped
    for path in data.folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as f:
                if case == "half":
                    os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                elif path.relative_to(data.folder).parts[0] == (format or "files"):
                    while f.read(2**20):
                        pass


def run_loader(name: str, case: str, data: Data, root: str, epochs: int) -> dict[str, Any]:
    """Return what one loader did: epochs, memory, and why it failed if it did."""
    result: dict[str, Any] = {}
    for other in OTHER_BYTES:
        result = _try_loader(name, case, data, root, epochs, other)
        if result.get("failed") != KILLED:
            break
    return result


def _try_loader(name: str, case: str, data: Data, root: str, epochs: int, other: int) -> dict[str, Any]:
    """Run a loader once, with `other` bytes of the limit left for what is not the cache."""
    prepare(case, data, LOADERS[name].format)
    limit = limit_bytes(case, data)
    with scratch(str(data.folder.parent)) as folder, _group(limit) as group:
        local = folder / "scratch"
        local.mkdir()
        chosen = {"our_resizer": LOADERS[name].our_resizer, "our_reader": LOADERS[name].our_reader}
        job = Job(root, data.count, limit - other, str(local), **chosen)
        task = {"loader": name, "job": job.__dict__, "epochs": epochs, "out": str(folder / "out.json")}
        (folder / "job.json").write_text(json.dumps({**task, "group": group and group.tasks}), encoding="utf-8")
        with (folder / "errors.txt").open("wb+") as errors, _peak(group) as peak:
            failure = _run(folder / "job.json", errors, patience_s=120 + epochs * data.count / 25)
            errors.seek(0)
            output = errors.read().decode(errors="replace")
        out = folder / "out.json"
        report: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
        if group is not None and group.kills():
            report["failed"] = KILLED
        elif failure:
            print(output, file=sys.stderr)
            report["failed"] = f"{failure}: {output.strip().splitlines()[-1] if output.strip() else 'no output'}"
        return {"loader": name, "other_bytes": other, "peak_added_bytes": peak and max(peak), **report}


def _run(job: Path, errors: Any, patience_s: float) -> str:
    """Run a loader in a session of its own and kill what is left of it; return what went wrong, empty if nothing."""
    command = [sys.executable, "-m", "benchmarks.runs.epoch_run", str(job)]
    environ = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "torch")}
    child = subprocess.Popen(command, stdout=errors, stderr=errors, start_new_session=True, env=environ)
    try:
        status = child.wait(patience_s)
        return f"exit status {status}" if status else ""
    except subprocess.TimeoutExpired:
        return f"not finished within {patience_s:.0f} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@contextmanager
def _group(limit: int) -> Iterator[cgroup.MemoryGroup | None]:
    """Yield the control group of a run; None if it cannot be created."""
    if cgroup.why_not():
        yield None
        return
    with cgroup.memory_group(limit) as group:
        yield group


@contextmanager
def _peak(group: cgroup.MemoryGroup | None) -> Iterator[list[int]]:
    """Yield samples of the group's memory, taken during the block; empty without a group."""
    samples: list[int] = []
    if group is None:
        yield samples
        return
    stop = Event()

    def watch() -> None:
        while not stop.wait(1 / SAMPLES_PER_S):
            samples.append(group.used_bytes())

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield samples
    finally:
        stop.set()
        watcher.join()
