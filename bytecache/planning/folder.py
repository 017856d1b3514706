"""What each policy would make of a folder of files, each read once per epoch in a new order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .simulation import CLOSED_FORMS, POLICY_NAMES, SimulationResult, predict_hit_rate, simulate

POLICIES = tuple(name for name in POLICY_NAMES if name != "belady")  # belady_bypass is its like, and may refuse
MAX_SAMPLED_FILES = 10_000  # files that curves are made of: more would take minutes and look the same
Facts = dict[str, Any]


class Curves(NamedTuple):
    """Hit rates over cache sizes. shares: of all bytes, 0 to 1. files: how many, drawn at random, were simulated."""

    shares: Sequence[float]
    hit_rates: dict[str, list[float]]
    files: int


def file_sizes(folder: str | os.PathLike[str], pattern: str = "*") -> NDArray[np.int64]:
    """Bytes of the regular files in a folder and below with a name that fits `pattern`, in the order of their paths.

    Links to files count as files, links to folders are not followed. Raises OSError where the folder or one below
    cannot be read, and FileNotFoundError where there is no file, or none with a byte in it.
    """
    if not os.path.isdir(folder):
        came = "that is a file" if os.path.exists(folder) else "nothing is there"
        raise NotADirectoryError(f"expected a folder of files, got {os.fspath(folder)!r}: {came}")
    nbytes = np.fromiter(_walk(os.fspath(folder), pattern), dtype=np.int64)
    if not nbytes.any():
        came = f"{len(nbytes):,}, all empty" if len(nbytes) else "none"
        raise FileNotFoundError(
            f"expected files named {pattern} with bytes in them in {os.fspath(folder)!r}, found {came}"
        )
    return nbytes


def _walk(folder: str, pattern: str) -> Iterator[int]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, pattern)
        elif fnmatch(entry.name, pattern) and entry.is_file():
            yield entry.stat().st_size


def simulate_folder(nbytes: NDArray[np.int64], maxbytes: int, policies: Iterable[str], epochs: int, seed: int) -> Facts:
    """Figures per epoch of each policy, the first epoch left out; hit_rates has all epochs.

    nbytes: of each file. predicted_hit_rate is None where there is no closed form. least_read_bytes: what any policy
    reads from the storage per epoch, at the least.
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
        "least_read_bytes": max(0, total - maxbytes),
        "policies": [_figures(name, result, fraction, files) for name, result in results.items()],
    }


def _figures(name: str, result: SimulationResult, fraction: float, files: int) -> Facts:
    steady, starts = result.part(files), range(0, len(result.hit), files)
    return {
        "policy": name,
        "hit_rate": steady.hit_rate,
        "predicted_hit_rate": predict_hit_rate(name, fraction) if name in CLOSED_FORMS else None,
        "byte_hit_rate": steady.byte_hit_rate,
        "reads": steady.misses / (len(starts) - 1),
        "read_bytes": steady.read_bytes / (len(starts) - 1),
        "hit_rates": [result.part(start, start + files).hit_rate for start in starts],
    }


def hit_rate_curves(nbytes: NDArray[np.int64], facts: Facts) -> Curves:
    """The hit rates of what `simulate_folder` gave `facts` of, for that cache size and for others up to all bytes."""
    seed, epochs = facts["seed"], facts["epochs"]
    if len(nbytes) > MAX_SAMPLED_FILES:
        nbytes = np.random.default_rng(seed).choice(nbytes, MAX_SAMPLED_FILES, replace=False)
    hit_rates: dict[str, list[float]] = {name: [] for name in (one["policy"] for one in facts["policies"])}
    shares = sorted({min(1.0, facts["fraction"]), *(percent / 100 for percent in range(0, 101, 5))})
    for share in shares:
        budget = round(share * int(nbytes.sum()))
        results = _simulate(nbytes, budget, hit_rates, epochs, seed) if budget else {}
        for name, rates in hit_rates.items():
            rates.append(results[name].part(len(nbytes)).hit_rate if budget else 0.0)
    return Curves(shares, hit_rates, len(nbytes))


def _simulate(
    nbytes: NDArray[np.int64], maxbytes: int, policies: Iterable[str], epochs: int, seed: int
) -> dict[str, SimulationResult]:
    rng, sizes = np.random.default_rng(seed), nbytes.tolist()
    trace = (item for _ in range(epochs) for item in rng.permutation(len(sizes)).tolist())
    return simulate(trace, policies, maxbytes, sizes=lambda item: sizes[item], seed=seed)
