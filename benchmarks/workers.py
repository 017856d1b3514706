"""How many reads reach the storage if the worker processes of a DataLoader read through each kind of cache?

    python -m benchmarks.workers [--items N] [--epochs N] [--methods NAME ...] [--json FILE]

Two workers, every file once per epoch in a new shuffle, a cache large enough for all. What is counted is opened files.
Spawned workers have to import torch, which takes seconds each time: add them with --methods fork forkserver spawn.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import bytecache
from benchmarks.harness.plot import color_of
from benchmarks.harness.report import Report, Table, main

PACKAGES = ("torch",)
BUDGET = "64 MB"
LIFETIMES = {"new workers every epoch": False, "persistent workers": True}  # persistent_workers=
LOG = "BENCHMARK_LOG"  # environment variable: a file that grows by a byte with each read of any process


def read_file(path: str) -> bytes:
    """Read a file and count it."""
    with open(os.environ[LOG], "ab", buffering=0) as log:
        log.write(b"x")
    return Path(path).read_bytes()


@functools.lru_cache(maxsize=1_000_000)
def read_functools(path: str) -> bytes:
    return read_file(path)


@bytecache.fill_once(maxbytes=BUDGET)
def read_private(path: str) -> bytes:
    return read_file(path)


@bytecache.fill_once(shared=True, maxbytes=BUDGET)
def read_shared(path: str) -> bytes:
    return read_file(path)


READERS: dict[str, Callable[[str], bytes]] = {
    "no cache": read_file,
    "functools.lru_cache": read_functools,
    "fill_once": read_private,
    "fill_once(shared=True)": read_shared,
}


class Files:
    """A map-style data set of files, as users write it."""

    def __init__(self, paths: list[str], read: Callable[[str], bytes]) -> None:
        self.paths, self.read = paths, read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> int:
        return len(self.read(self.paths[index]))


def reads_per_epoch(name: str, paths: list[str], method: str, persistent: bool, epochs: int) -> list[int]:
    """Return the number of files opened in each epoch, by all processes."""
    import torch
    from torch.utils.data import DataLoader

    read = READERS[name]
    getattr(read, "cache_clear", lambda: None)()
    torch.manual_seed(0)
    loader: Any = DataLoader(
        Files(paths, read),  # type: ignore[arg-type]
        batch_size=10,
        shuffle=True,
        num_workers=2,
        persistent_workers=persistent,
        multiprocessing_context=method,
    )
    log_bytes = [os.path.getsize(os.environ[LOG])]
    for _ in range(epochs):
        for _ in loader:
            pass
        log_bytes.append(os.path.getsize(os.environ[LOG]))
    return [now - then for then, now in zip(log_bytes, log_bytes[1:], strict=False)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the numbers of files and epochs, and the start methods."""
    parser.add_argument("--items", type=int, default=100, metavar="N", help="files of 8 KB (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--methods", nargs="+", default=["fork", "forkserver"], metavar="NAME", help="start methods")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the files opened in each epoch, by cache, lifetime of the workers, and start method."""
    multiprocessing.set_forkserver_preload(["__main__", "torch.utils.data"])
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as log:
        os.environ[LOG] = log.name  # before any worker exists: a fork server keeps the environment that it started with
        paths = [f"{folder}/{i}" for i in range(options.items)]
        for path in paths:
            Path(path).write_bytes(os.urandom(8192))
        reads = {
            name: {
                lifetime: {
                    method: reads_per_epoch(name, paths, method, persistent, options.epochs)
                    for method in options.methods
                }
                for lifetime, persistent in LIFETIMES.items()
            }
            for name in READERS
        }
    return {"reads": reads}


def tables(report: Report) -> Iterator[Table]:
    """Make a table with a row per cache; start methods with the same reads share a cell."""
    options = report["options"]
    title = f"Reads in each of {options['epochs']} epochs of {options['items']} files, two workers"
    rows = [
        (name, *(same(by_lifetime[lifetime]) for lifetime in LIFETIMES))
        for name, by_lifetime in report["reads"].items()
    ]
    yield Table("reads", f"{title}, started by {' and '.join(options['methods'])}", ("cache", *LIFETIMES), rows)


def same(methods: Mapping[str, Sequence[int]]) -> str:
    """Return the reads of each epoch; per start method if they differ."""
    texts = {method: ", ".join(map(str, reads)) for method, reads in methods.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{method}: {text}" for method, text in texts.items())


def plot(report: Report, figure: Any) -> None:
    """Draw the reads per epoch with the first start method, a group of bars per cache."""
    panels = figure.subplots(1, len(LIFETIMES), sharey=True)
    names, epochs = list(report["reads"]), report["options"]["epochs"]
    for axes, lifetime in zip(panels, LIFETIMES, strict=True):
        for epoch in range(epochs):
            reads = [next(iter(report["reads"][name][lifetime].values()))[epoch] for name in names]
            positions = [x + (epoch - (epochs - 1) / 2) * 0.8 / epochs for x in range(len(names))]
            shade = 1 - 0.6 * epoch / max(1, epochs - 1)
            bars = axes.bar(positions, reads, 0.74 / epochs, color=list(map(color_of, names)), alpha=shade)
            axes.bar_label(bars, fontsize=8)
        axes.set_xticks(range(len(names)), [name.replace("(", "\n(").replace(".", ".\n") for name in names], fontsize=9)
        axes.set_title(lifetime, fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(f"files read per epoch, of {report['options']['items']} (lower is better)")
    figure.suptitle(f"How many files do two workers read? Epochs 1 to {epochs} from left to right")


if __name__ == "__main__":
    main(__doc__, add_arguments, measure, tables, PACKAGES)
