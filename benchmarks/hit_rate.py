"""What share of the reads hits, when each of N equal items is read once per epoch in a fresh shuffle?

    python -m benchmarks.hit_rate [--items N] [--epochs N] [--seed S] [--json FILE]

The real decorators, measured beside the prediction and beside Belady's bound: no policy gets more than C of N.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import bytecache
from benchmarks import _measure

FRACTIONS = (0.2, 0.5, 0.8)


def shuffled_epochs(items: int, epochs: int, seed: int) -> Iterator[list[int]]:
    """The workload: every item once per epoch, in an order of its own."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        yield rng.permutation(items).tolist()


def steady_hit_rate(decorate: Callable[[Callable[[int], int]], Any], items: int, epochs: int, seed: int) -> float:
    """Hits per read over all epochs after the first."""
    read = decorate(lambda item: item)
    for epoch, order in enumerate(shuffled_epochs(items, epochs, seed)):
        if epoch == 1:
            filled = read.cache_info()
        for item in order:
            read(item)
    end = read.cache_info()
    hits, misses = end.hits - filled.hits, end.misses - filled.misses
    return hits / (hits + misses)


def main() -> None:
    """Measures, prints the table, and writes the figures where --json says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=5, metavar="N", help="two or more (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the orders (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    about = _measure.environment("numpy")
    rows, figures = [], []
    for fraction in FRACTIONS:
        held = int(fraction * options.items)
        measured = {
            "fill_once": steady_hit_rate(bytecache.fill_once(held), options.items, options.epochs, options.seed),
            "lru_cache": steady_hit_rate(bytecache.lru_cache(held), options.items, options.epochs, options.seed),
            "functools": steady_hit_rate(functools.lru_cache(held), options.items, options.epochs, options.seed),
        }
        predicted = bytecache.predict_hit_rate("lru", fraction)
        figures.append({"fraction": fraction, "bound": fraction, "lru_predicted": predicted, **measured})
        rows.append([f"{value:.3f}" for value in (fraction, fraction, *measured.values(), predicted)])
    columns = ("held", "the most any policy gets", "fill_once", "lru_cache", "functools.lru_cache", "LRU, predicted")
    _measure.print_table(f"Hits per read, {options.items} items, epochs 2 to {options.epochs}", columns, rows)
    _measure.write_json(options.json, {"about": about, "options": vars(options), "hit_rates": figures})


if __name__ == "__main__":
    main()
