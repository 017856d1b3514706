"""For what fraction of its time does a ResNet-50 on a GPU wait for data, with each loader at the same memory?

    python -m benchmarks.gpu [--mb N] [--batch N] [--workers N] [--epochs N] [--json FILE]

The network trains in bfloat16 on JPEG files of 500 x 375, resized to 224 x 224. Each loader has a process of its own
and, if control groups can be created, the same memory: half the files, plus an allowance for batches and workers.
Epochs alternate with steps on one batch that stays in the GPU's memory: the difference in speed is waiting.
Without CUDA nothing is measured; --device cpu trains a tiny network, to show that the script runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from typing import Any

from benchmarks.harness import cgroup
from benchmarks.harness.measure import Summary, summary
from benchmarks.harness.plot import color_of
from benchmarks.harness.report import Report, Table, main, number, spread
from benchmarks.harness.worker import Process
from benchmarks.loaders import TORCH, Job, Loader
from benchmarks.runs.epoch_case import prepare
from benchmarks.workloads.data_set import Data, make_data
from benchmarks.workloads.files import scratch
from bytecache.system.threads import cpu_count

PACKAGES = ("torch", "simplejpeg", "pillow")
LOADERS = {
    "DataLoader, Pillow": Loader("plain:pillow", TORCH),
    "DataLoader, simplejpeg": Loader("plain:simplejpeg", TORCH),
    "bytecache ImageDataset, fill_once": Loader("ours:private", TORCH),
    "bytecache ImageDataset, fill_once(shared=True), workers": Loader("ours:shared", TORCH),
    "bytecache ImageDataset, fill_once, shrunk": Loader("ours:shrunk", TORCH),
}
WARMUP_STEPS, BOUND_STEPS = 10, 50
WORKER_BYTES = 60_000_000  # of a process without its batches, approximately
OTHER_BYTES = 500_000_000  # for what the driver and the libraries allocate after the start
BOUND = "a batch that stays in the device's memory"


def trainer(loader: Loader, job: Job, device: str, tasks: str) -> Callable[[int | None], tuple[int, float]]:
    """Return what gives the images and seconds of an epoch, or (None) of steps on a batch that is on the device.

    tasks: the file of the control group to enter once the network exists; "": none.
    """
    from benchmarks.workloads.resnet import Training

    training = Training(device, tiny=device == "cpu")
    noise = training.synthetic(job.batch, job.side)
    training.run(repeat(noise, WARMUP_STEPS))
    if tasks:
        cgroup.enter(tasks)
    batches_of = loader.load()(job)
    return lambda epoch: training.run(repeat(noise, BOUND_STEPS) if epoch is None else batches_of(epoch))


def measure_one(loader: Loader, data: Data, options: argparse.Namespace) -> dict[str, Any]:
    """Return images per second of each epoch and of the steps after it, and why it failed if it did."""
    budget, limit = memory(data, options)
    prepare("half", data, "")
    result: dict[str, Any] = {"per_s": [], "bound_per_s": []}
    with ExitStack() as stack:
        folder = stack.enter_context(scratch(str(data.folder.parent)))
        group = None if no_limit(options.device) else stack.enter_context(cgroup.memory_group(limit))
        job = Job(str(data.folder), data.count, budget, str(folder), batch=options.batch, workers=options.workers)
        try:
            with Process(trainer, loader, job, options.device, group.tasks if group else "") as process:
                for epoch in range(options.epochs):
                    for question, speeds in ((epoch, result["per_s"]), (None, result["bound_per_s"])):
                        images, seconds = process.ask(question)
                        speeds.append(images / seconds)
        except RuntimeError as error:
            result["failed"] = "killed by the memory limit" if group and group.kills() else str(error)
    return result


def memory(data: Data, options: argparse.Namespace) -> tuple[int, int]:
    """Return the cache's budget, which is half the files, and the limit, which adds an allowance for the workers."""
    batches = 3 * options.batch * 3 * Job.side**2  # one in progress, two prefetched
    return data.nbytes // 2, data.nbytes // 2 + OTHER_BYTES + max(1, options.workers) * (batches + WORKER_BYTES)


def no_limit(device: str) -> str:
    """Return why there is no memory limit; empty if there is one."""
    return cgroup.why_not() if device == "cuda" else "no limit, since the network's own memory would count"


def why_not(device: str) -> str:
    """Return why nothing can be measured here; empty if it can."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    import torch

    return "torch finds no CUDA device here" if device == "cuda" and not torch.cuda.is_available() else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the size of the data, the batches, the workers and the device."""
    parser.add_argument("--mb", type=int, default=4000, metavar="N", help="MB of files (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=128, metavar="N", help="images in a batch (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=cpu_count(), metavar="N", help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=4, metavar="N", help="two or more (default: %(default)s)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="(default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, default=Path("build/benchmarks"), metavar="DIR", help="(default: %(default)s)"
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every installed loader; exit with a message if nothing can be measured here."""
    if reason := why_not(options.device):
        print(f"benchmarks.gpu was not run: {reason}; it needs a machine with an NVIDIA GPU")
        sys.exit(0)
    import torch

    cuda = options.device == "cuda"
    data, _, _ = make_data(options.data, options.mb, [])
    absent = {name: loader.absent() for name, loader in LOADERS.items() if loader.absent()}
    return {
        "network": f"ResNet-50 in bfloat16 on {torch.cuda.get_device_name()}" if cuda else "a tiny network on a CPU",
        "files": data.count,
        "file_bytes": data.nbytes,
        "limit_bytes": memory(data, options)[1],
        "no_limit": no_limit(options.device),
        "loaders": {name: measure_one(loader, data, options) for name, loader in LOADERS.items() if name not in absent},
        "absent": absent,
    }


def waiting(result: Mapping[str, Any]) -> Summary:
    """Return the fraction of its time that a loader's network waits, in the epochs after the first."""
    pairs = zip(result["per_s"][1:], result["bound_per_s"][1:], strict=True)
    return summary(max(0.0, 1 - speed / bound) for speed, bound in pairs)


def tables(report: Report) -> Iterator[Table]:
    """Make a table of images per second and of the fraction of waiting, per loader."""
    ran = {name: result for name, result in report["loaders"].items() if "failed" not in result}
    bounds = [bound for result in ran.values() for bound in result["bound_per_s"]]
    rows = [(BOUND, "", spread(summary(bounds)), "0")] if bounds else []
    for name, result in ran.items():
        later = spread(summary(result["per_s"][1:]))
        rows.append((name, number(result["per_s"][0]), later, str(waiting(result))))
    rows += [(name, result["failed"], "", "") for name, result in report["loaders"].items() if name not in ran]
    rows += [(name, f"not installed: {', '.join(packages)}", "", "") for name, packages in report["absent"].items()]
    limit = report["no_limit"] or f"limit {report['limit_bytes'] / 1e6:,.0f} MB"
    files = f"{report['files']:,} files, {report['file_bytes'] / 1e6:,.0f} MB"
    columns = ("loader", "images/s, first epoch", "later epochs", "fraction of time that the network waits")
    yield Table("waiting", f"{report['network']} ({files}; {limit})", columns, rows)


def plot(report: Report, figure: Any) -> None:
    """Draw the fraction of waiting, per loader."""
    ran = {name: waiting(result).median for name, result in report["loaders"].items() if "failed" not in result}
    names = sorted(ran, key=ran.__getitem__, reverse=True)
    axes = figure.subplots()
    bars = axes.barh(names, [ran[name] for name in names], color=[color_of(name) for name in names])
    axes.bar_label(bars, [f"{ran[name]:.0%}" for name in names], padding=5)
    axes.set(xlim=(0, 1), xlabel="fraction of time in epochs after the first (left is better)")
    figure.suptitle(f"How long does a network wait for data?\n{report['network']}, memory for half the files")
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
