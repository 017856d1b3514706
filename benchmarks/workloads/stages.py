"""Pictures that are read, decoded and resized by stages of known cost, which take that long and return that much."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from time import perf_counter, sleep
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MEDIAN_BYTES, SIGMA = 100_000, 0.6  # of the log-normal encoded sizes
INFLATION = (5.0, 12.0)  # decoded bytes per encoded one, log-uniform
RESIZED_BYTES = 224 * 224 * 3
READ_S_PER_BYTE = 1e-9  # beside the time per read
DECODE = (0.3e-3, 1e-8, 2e-9)  # seconds per picture, per encoded byte and per decoded one
RESIZE = (0.2e-3, 5e-10)  # seconds per picture, and per decoded byte
SPIN_S = 2e-4  # a sleep ends late by up to about this
HEADER_BYTES = 8
BYTES_OBJECT, ARRAY_OBJECT = sys.getsizeof(b""), sys.getsizeof(np.empty(0, np.uint8))


class Pictures(NamedTuple):
    """A data set.

    names: of the stages. nbytes: of the object that each stage returns, int (items, stages). cost_s: the seconds that
    each takes, (items, stages).
    """

    names: list[str]
    nbytes: NDArray[np.int64]
    cost_s: NDArray[np.float64]

    @property
    def saved_s(self) -> NDArray[np.float64]:
        """The seconds that it saves to keep each item after each stage, (items, stages)."""
        saved: NDArray[np.float64] = self.cost_s.cumsum(axis=1)
        return saved

    @property
    def encoded_bytes(self) -> int:
        """The bytes of all items as they are read."""
        return int(self.nbytes[:, 0].sum())

    def slower(self, factor: float) -> Pictures:
        """Return the same from storage that takes `factor` times as long."""
        cost_s = self.cost_s.copy()
        cost_s[:, 0] *= factor
        return self._replace(cost_s=cost_s)


def make_pictures(items: int, read_ms: float, resized: bool, seed: int) -> Pictures:
    """Return pictures that are read and decoded, and resized if `resized`; the same ones at every `read_ms`."""
    rng = np.random.default_rng(seed)
    encoded = rng.lognormal(math.log(MEDIAN_BYTES), SIGMA, items).round()
    decoded = (encoded * np.exp(rng.uniform(*map(math.log, INFLATION), items))).round()
    read_s = read_ms / 1e3 + READ_S_PER_BYTE * encoded
    decode_s = DECODE[0] + DECODE[1] * encoded + DECODE[2] * decoded
    columns = [("read", encoded, read_s), ("decode", decoded, decode_s)]
    if resized:
        columns.append(("resize", np.full(items, RESIZED_BYTES), RESIZE[0] + RESIZE[1] * decoded))
    names, nbytes, cost_s = zip(*columns, strict=True)
    return Pictures(list(names), np.stack(nbytes, axis=1).astype(np.int64), np.stack(cost_s, axis=1))


class Stages:
    """The stages of a data set as functions, the first from an item's number; for one thread.

    Each takes as long as it should, allocating and filling what it returns included: asleep but for the end, at which a
    sleep is not exact. due_s: what all runs so far should have taken, by the known costs; took_s: what they have taken.
    """

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self.due_s = self.took_s = 0.0
        later = (self._decode, self._resize)
        self.functions: list[Callable[[Any], Any]] = [self._read, *later[: len(pictures.names) - 1]]

    def _read(self, item: int) -> bytes:
        started = perf_counter()
        length = int(self.pictures.nbytes[item, 0]) - BYTES_OBJECT
        value = item.to_bytes(HEADER_BYTES, "little") + b"\1" * (length - HEADER_BYTES)
        self._wait(started, item, 0)
        return value

    def _decode(self, encoded: bytes) -> NDArray[np.uint8]:
        return self._pixels(encoded[:HEADER_BYTES], 1)

    def _resize(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return self._pixels(pixels[:HEADER_BYTES].tobytes(), 2)

    def _pixels(self, header: bytes, stage: int) -> NDArray[np.uint8]:
        started, item = perf_counter(), int.from_bytes(header, "little")
        value = np.ones(int(self.pictures.nbytes[item, stage]) - ARRAY_OBJECT, np.uint8)
        value[:HEADER_BYTES] = np.frombuffer(header, np.uint8)
        self._wait(started, item, stage)
        return value

    def _wait(self, started: float, item: int, stage: int) -> None:
        cost_s = float(self.pictures.cost_s[item, stage])
        left_s = started + cost_s - perf_counter()
        if left_s > SPIN_S:
            sleep(left_s - SPIN_S)
        while (took_s := perf_counter() - started) < cost_s:
            pass
        self.due_s += cost_s
        self.took_s += took_s
