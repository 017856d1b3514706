"""What decoders are given to do, in what two ways, and when their pictures are right."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import bytecache
from benchmarks.harness.measure import Absent, interleave, speed, summary

Array = np.ndarray[Any, Any]
THREADS = 2
DECODED_ALIKE, SHRUNK_ALIKE = 0.5, 2.5  # mean difference, of 255; filters differ, and an aliased picture by more


class Work(NamedTuple):
    """JPEG files of equal size, how many make a batch, and the (height, width) that their pictures are shrunk to."""

    datas: Sequence[bytes]
    batch: int
    size: tuple[int, int] | None = None

    def chunks(self) -> Iterator[Sequence[bytes]]:
        """The files of each batch."""
        for start in range(0, len(self.datas), self.batch):
            yield self.datas[start : start + self.batch]

    def ratio(self) -> int:
        """The largest scale of 1/1, 1/2, 1/4 and 1/8 that leaves a picture no smaller than its size."""
        header = bytecache.jpeg_header(self.datas[0])
        height, width = self.size or (header.height, header.width)
        return max(ratio for ratio in (1, 2, 4, 8) if header.height >= ratio * height and header.width >= ratio * width)


class Way(NamedTuple):
    """How one library does a work: picture by picture on one thread, and batch by batch on two."""

    one: Callable[[], Iterator[Array]]
    two: Callable[[], Iterator[Array]]


def one_by_one(work: Work, decode: Callable[[bytes], Array]) -> Way:
    """For a library that knows no batches: on two threads an executor decodes, and np.stack makes the batch."""

    def two() -> Iterator[Array]:
        for datas in work.chunks():
            yield np.stack(list(_executor().map(decode, datas)))

    return Way(lambda: map(decode, work.datas), two)


@functools.cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS)


def pillow_resize(image: Array, size: tuple[int, int]) -> Array:
    """To (height, width), antialiased."""
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def right_pictures(work: Work) -> list[Array]:
    """What all must give."""
    images = [np.asarray(Image.open(BytesIO(data)).convert("RGB")) for data in work.datas]
    return [pillow_resize(image, work.size) for image in images] if work.size else images


def check(way: Way, work: Work, right: Sequence[Array]) -> None:
    """Raises Absent for other pictures, one by one or in batches, than are right."""
    wrong = max(_difference(way.one(), right), _difference((i for batch in way.two() for i in batch), right))
    if wrong > (SHRUNK_ALIKE if work.size else DECODED_ALIKE):
        raise Absent(f"gives other pictures, by {wrong:.1f} of 255")


def _difference(images: Iterator[Array], right: Sequence[Array]) -> float:
    """The mean absolute difference; infinite where shapes or types differ; ValueError where numbers do."""
    differences = []
    for image, expected in zip(images, right, strict=True):
        if image.shape != expected.shape or image.dtype != expected.dtype:
            return float("inf")
        differences.append(np.abs(image.astype(int) - expected).mean())
    return float(np.mean(differences))


def compare(functions: Mapping[str, Callable[[], Any]], images: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Images per second of each function, and how many times the first one's, [median, low, high]."""
    seconds = interleave(functions, rounds)
    first = next(iter(functions))
    return {
        name: {
            "per_s": summary(images / time for time in times),
            "times": speed(seconds, name, first),
        }
        for name, times in seconds.items()
    }
