"""How many reads reach the storage, when a DataLoader's worker processes read through a cache of each kind?

    python -m benchmarks.workers [--items N] [--epochs N] [--json FILE]

Two workers, every item once per epoch in a fresh shuffle, room for all. What is counted is files opened.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bytecache
from benchmarks import _measure

BUDGET = "64 MB"
LOG = "BENCHMARK_LOG"  # environment variable: a file that grows by a byte with each read, in whatever process


def read_file(path: str) -> bytes:
    """Reads a file and counts that it did."""
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
    """A map-style data set of a file's bytes, as users write it."""

    def __init__(self, paths: list[str], read: Callable[[str], bytes]) -> None:
        self.paths, self.read = paths, read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> int:
        return len(self.read(self.paths[index]))


def reads_per_epoch(name: str, paths: list[str], method: str, persistent: bool, epochs: int) -> list[int]:
    """Files opened in each epoch, by all processes."""
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
    seen = [os.path.getsize(os.environ[LOG])]
    for _ in range(epochs):
        for _ in loader:
            pass
        seen.append(os.path.getsize(os.environ[LOG]))
    return [now - then for then, now in zip(seen, seen[1:], strict=False)]


def main() -> None:
    """Measures, prints the table, and writes the figures where --json says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100, metavar="N", help="files of 8 KB (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    about = _measure.environment("torch")
    print(*(f"{name} {value}" for name, value in about.items()), sep=", ")
    figures: dict[str, dict[str, list[int]]] = {name: {} for name in READERS}
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as log:
        os.environ[LOG] = log.name  # before any worker is there: a fork server keeps the environment it began with
        paths = [f"{folder}/{i}" for i in range(options.items)]
        for path in paths:
            Path(path).write_bytes(os.urandom(8192))
        for name in READERS:
            for method in ("fork", "forkserver", "spawn"):
                for persistent in (False, True):
                    workers = f"{method}{', persistent' if persistent else ''}"
                    figures[name][workers] = reads_per_epoch(name, paths, method, persistent, options.epochs)
    columns = ("", *figures["no cache"])
    rows = [(name, *("/".join(map(str, reads)) for reads in found.values())) for name, found in figures.items()]
    _measure.print_table(f"Reads in each of {options.epochs} epochs of {options.items} files, 2 workers", columns, rows)
    _measure.write_json(options.json, {"about": about, "options": vars(options), "reads": figures})


if __name__ == "__main__":
    main()
