"""A folder of files in simulation: each file is read once per epoch, in a new order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from .hit_rates import CLOSED_FORMS, predict_hit_rate
from .simulation import POLICY_NAMES, SimulationResult, simulate

DEFAULT_POLICIES = tuple(name for name in POLICY_NAMES if name != "belady")  # belady_bypass is the higher bound
IMAGE_ENDINGS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".png",
    ".webp",
    ".gif",
    ".tif",
    ".tiff",
    ".bmp",
    ".avif",
    ".jp2",
    ".ppm",
    ".pgm",
)
IMAGE_PATTERNS = tuple(f"*{ending}" for ending in IMAGE_ENDINGS)
MAX_SAMPLED_FILES = 10_000  # for curves: more would take minutes and look the same


class PolicyReport(TypedDict):
    """One policy: means per epoch without the first, but hit_rates has every epoch.

    predicted_hit_rate: None if the policy has no closed form. misses, missed_bytes: what is read from the storage.
    """

    policy: str
    hit_rate: float
    predicted_hit_rate: float | None
    byte_hit_rate: float
    misses: float
    missed_bytes: float
    hit_rates: list[float]


class FolderReport(TypedDict):
    """What each policy makes of a folder.

    bytes: of all files. fraction: maxbytes / bytes. least_missed_bytes: what every policy reads from the storage per
    epoch at least.
    """

    files: int
    bytes: int
    maxbytes: int
    fraction: float
    epochs: int
    seed: int
    least_missed_bytes: int
    policies: list[PolicyReport]


class Curves(NamedTuple):
    """Hit rates over cache sizes. fractions: of all bytes, 0 to 1. files: how many, drawn at random, were simulated."""

    fractions: Sequence[float]
    hit_rates: dict[str, list[float]]
    files: int


def file_sizes(folder: str | os.PathLike[str], patterns: Sequence[str] = ("*",)) -> NDArray[np.int64]:
    """Return the bytes of each regular file below a folder whose name matches a pattern, in the order of their paths.

    patterns: as in the shell. The endings of images match in upper and lower case: ``"*.jpg"`` means .JPG too.
    Links to files count as files, links to folders are not followed. Raises OSError if a folder cannot be read, and
    FileNotFoundError if no file matches or all that match are empty.
    """
    return paths_and_sizes(folder, patterns)[1]


def paths_and_sizes(
    folder: str | os.PathLike[str], patterns: Sequence[str] = ("*",)
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the paths of these files, and what ``file_sizes`` returns; raise as that does."""
    found = [(entry.path, entry.stat().st_size) for entry in _files(folder, patterns)]
    nbytes = np.array([size for _, size in found], np.int64)
    if not nbytes.any():
        number = f"{len(nbytes):,}, all empty" if found else "none"
        raise FileNotFoundError(
            f"expected files named {' or '.join(patterns)} that are not empty in {os.fspath(folder)!r}, found {number}"
        )
    return [path for path, _ in found], nbytes


def file_paths(folder: str | os.PathLike[str], patterns: Sequence[str] = ("*",)) -> list[str]:
    """Return the paths of the files that ``file_sizes`` measures, and of links that lead nowhere, in order.

    Raises OSError if a folder cannot be read, FileNotFoundError if no file matches.
    """
    paths = [entry.path for entry in _files(folder, patterns, broken_links=True)]
    if not paths:
        raise FileNotFoundError(f"expected files named {' or '.join(patterns)} in {os.fspath(folder)!r}, found none")
    return paths


def _files(
    folder: str | os.PathLike[str], patterns: Sequence[str], broken_links: bool = False
) -> Iterator[os.DirEntry[str]]:
    if not os.path.isdir(folder):
        problem = "that is a file" if os.path.exists(folder) else "it does not exist"
        raise NotADirectoryError(f"expected a folder of files, got {os.fspath(folder)!r}: {problem}")
    for entry in _walk(os.fspath(folder)):
        if any(_matches(entry.name, pattern) for pattern in patterns) and (
            entry.is_file() or (broken_links and not os.path.exists(entry))
        ):
            yield entry


def _walk(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        else:
            yield entry


def _matches(name: str, pattern: str) -> bool:
    """Return whether a file's name matches; its ending may be in any case if the pattern's is that of images."""
    if fnmatchcase(name, pattern):
        return True
    (stem, ending), (pattern_stem, pattern_ending) = os.path.splitext(name), os.path.splitext(pattern)
    ending, pattern_ending = ending.lower(), pattern_ending.lower()
    return ending in IMAGE_ENDINGS and fnmatchcase(stem, pattern_stem) and fnmatchcase(ending, pattern_ending)


def simulate_folder(
    nbytes: NDArray[np.int64], maxbytes: int, policies: Iterable[str], epochs: int, seed: int
) -> FolderReport:
    """Return what each policy makes of files of these sizes in `epochs` epochs, 2 or more.

    nbytes: of each file, int64 (files,). seed: of the shuffles and of random replacement.
    """
    total, files = int(nbytes.sum()), len(nbytes)
    fraction = maxbytes / total
    results = _simulate(nbytes, maxbytes, policies, epochs, seed)
    return {
        "files": files,
        "bytes": total,
        "maxbytes": maxbytes,
        "fraction": fraction,
        "epochs": epochs,
        "seed": seed,
        "least_missed_bytes": max(0, total - maxbytes),
        "policies": [_report(name, result, fraction, files) for name, result in results.items()],
    }


def _report(name: str, result: SimulationResult, fraction: float, files: int) -> PolicyReport:
    steady, starts = result.part(files), range(0, len(result.hit), files)
    return {
        "policy": name,
        "hit_rate": steady.hit_rate,
        "predicted_hit_rate": predict_hit_rate(name, fraction) if name in CLOSED_FORMS else None,
        "byte_hit_rate": steady.byte_hit_rate,
        "misses": steady.misses / (len(starts) - 1),
        "missed_bytes": steady.missed_bytes / (len(starts) - 1),
        "hit_rates": [result.part(start, start + files).hit_rate for start in starts],
    }


def hit_rate_curves(nbytes: NDArray[np.int64], report: FolderReport) -> Curves:
    """Return the hit rates of a report's policies at its cache size, and at others from nothing to all bytes."""
    seed, epochs = report["seed"], report["epochs"]
    if len(nbytes) > MAX_SAMPLED_FILES:
        nbytes = np.random.default_rng(seed).choice(nbytes, MAX_SAMPLED_FILES, replace=False)
    hit_rates: dict[str, list[float]] = {policy["policy"]: [] for policy in report["policies"]}
    fractions = sorted({min(1.0, report["fraction"]), *(percent / 100 for percent in range(0, 101, 5))})
    for fraction in fractions:
        budget = round(fraction * int(nbytes.sum()))
        results = _simulate(nbytes, budget, hit_rates, epochs, seed) if budget else {}
        for name, rates in hit_rates.items():
            rates.append(results[name].part(len(nbytes)).hit_rate if budget else 0.0)
    return Curves(fractions, hit_rates, len(nbytes))


def _simulate(
    nbytes: NDArray[np.int64], maxbytes: int, policies: Iterable[str], epochs: int, seed: int
) -> dict[str, SimulationResult]:
    rng, sizes = np.random.default_rng(seed), nbytes.tolist()
    trace = (item for _ in range(epochs) for item in rng.permutation(len(sizes)).tolist())
    return simulate(trace, policies, maxbytes, sizes=lambda item: sizes[item], seed=seed)
