"""The epochs of one loader, in a process of its own: `python -m benchmarks.runs.epoch_run FILE`.

FILE is JSON: the loader's name, the fields of its Job, the number of epochs, the control group to enter, and the path
of the report to write.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.harness import cgroup
from benchmarks.harness.measure import pss_bytes, session_cpu_s
from benchmarks.loaders import LOADERS, Epochs, Job, Loader
from benchmarks.loaders.image_files import decode, fetch
from benchmarks.workloads import http_server

DTYPES = ("uint8", "float32")  # float32 from 0 to 1


def kind(images: Any) -> str:
    """Return the name of the dtype of an array or a tensor."""
    return str(images.dtype).removeprefix("torch.")


def one_epoch(batches: Iterable[Any], job: Job) -> tuple[list[int], tuple[Any, int]]:
    """Return the labels in the order of the batches, and one image with its label."""
    order: list[int] = []
    sample: tuple[Any, int] = (None, -1)
    for images, labels in batches:
        shape = tuple(images.shape)
        if shape[0] != len(labels) or sorted(shape[1:]) != [3, job.side, job.side] or kind(images) not in DTYPES:
            raise ValueError(f"a batch must be of {DTYPES}, (n, {job.side}, {job.side}, 3), got {images.dtype} {shape}")
        sample = (images[0], int(labels[0]))
        order += np.asarray(labels).tolist()
    return order, sample


def check(labels: list[int], sample: tuple[Any, int], job: Job, tolerance: float) -> None:
    """Raise ValueError unless each file came once, and the sample is the image of its file."""
    if sorted(labels) != list(range(job.count)):
        raise ValueError(
            f"an epoch must have each of {job.count} files once, got {len(labels)}, {len(set(labels))} different"
        )
    image, label = np.asarray(sample[0], np.float32) * (255 if kind(sample[0]) == "float32" else 1), sample[1]
    image = image if image.shape[-1] == 3 else image.transpose(1, 2, 0)
    difference = float(np.abs(image - decode(fetch(job.paths[label]), job.side)).mean())
    if difference > tolerance:
        raise ValueError(
            f"image {label} must be within {tolerance} levels of its file in the mean, got {difference:.1f}"
        )


def storage_bytes(job: Job) -> float:
    """Return the bytes read so far from the data's disk by all processes of the machine, or sent by the server.

    Returns NaN if the system does not count them.
    """
    if job.remote:
        return http_server.sent_bytes(job.root)
    device = Path(job.root).stat().st_dev
    try:
        fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text(encoding="ascii").split()
    except OSError:
        return math.nan
    return int(fields[2]) * 512


def run(loader: Loader, make: Callable[[Job], Epochs], job: Job, epochs: int) -> Iterator[dict[str, float]]:
    """Run the epochs and yield what each took: seconds, of the processor too, and bytes; the first with preparation."""
    before, used, start = storage_bytes(job), session_cpu_s(), perf_counter()
    batches_of = make(job)
    orders: list[list[int]] = []
    for epoch in range(epochs):
        labels, sample = one_epoch(batches_of(epoch), job)
        seconds = perf_counter() - start
        yield {"s": seconds, "cpu_s": session_cpu_s() - used, "storage_bytes": storage_bytes(job) - before}
        check(labels, sample, job, loader.tolerance)
        if labels in orders:
            raise ValueError("each epoch must have an order of its own, got two in the same order")
        orders.append(labels)
        before, used, start = storage_bytes(job), session_cpu_s(), perf_counter()


def main() -> None:
    """Run the task of the file; a loader that cannot do it reports why."""
    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    job = Job(**task["job"])
    loader = LOADERS[task["loader"]]
    make = loader.load()
    if job.remote:  # its libraries: or each worker would import them
        importlib.import_module("bytecache.http" if job.our_reader else "fsspec.implementations.http")
    report: dict[str, Any] = {"libraries_bytes": pss_bytes(os.getpid()), "epochs": []}
    if task["group"]:
        cgroup.enter(task["group"])
    try:
        for epoch in run(loader, make, job, task["epochs"]):
            report["epochs"].append(epoch)
    except NotImplementedError as error:
        report["failed"] = str(error)
    Path(task["out"]).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main()
