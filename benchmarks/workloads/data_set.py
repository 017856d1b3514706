"""The data set for loaders: JPEG files of 500 x 375, and the same images in the formats that some loaders read."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.loaders import LOADERS
from benchmarks.workloads.images import make_jpeg_files

HEIGHT, WIDTH, FILE_BYTES = 375, 500, 90_000  # FILE_BYTES: approximately


class Data(NamedTuple):
    """The data set on the local disk."""

    folder: Path  # with files/ and a folder per format
    count: int
    nbytes: int  # of files/


def make_data(folder: Path, mb: int, loaders: list[str]) -> tuple[Data, dict[str, Any], dict[str, str]]:
    """Write the files, and convert them to the formats of the named loaders.

    Returns the data set, the seconds and bytes of each conversion, and the reasons of those that failed.
    """
    count = mb * 1_000_000 // FILE_BYTES
    folder = (folder / f"{mb}mb").absolute()
    paths = make_jpeg_files(folder / "files", count, HEIGHT, WIDTH)
    converted: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for format, names in by_format(loaders).items():
        out, start = folder / format, perf_counter()
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        child = multiprocessing.get_context("spawn").Process(
            target=LOADERS[names[0]].convert, args=(str(folder / "files"), str(out), count)
        )
        child.start()
        child.join()
        if child.exitcode:
            why = f"the conversion to its format failed with exit status {child.exitcode}"
            failed |= dict.fromkeys(names, why)
        else:
            converted[names[0]] = {"s": perf_counter() - start, "bytes": folder_bytes(out)}
    return Data(folder, count, sum(Path(path).stat().st_size for path in paths)), converted, failed


def by_format(loaders: list[str]) -> dict[str, list[str]]:
    """Return the names of the loaders that need a format of their own, by that."""
    names: dict[str, list[str]] = {}
    for name in loaders:
        if LOADERS[name].format:
            names.setdefault(LOADERS[name].format, []).append(name)
    return names


def folder_bytes(folder: Path) -> int:
    """Return the total length of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
