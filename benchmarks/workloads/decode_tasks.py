"""What decoders are asked to do, the two ways in which they are timed, and the check of their images."""

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
MAX_DECODE_ERROR, MAX_RESIZE_ERROR = 0.5, 2.5  # mean difference, of 255: filters differ, and aliasing differs by more


class DecodeTask(NamedTuple):
    """JPEG files of equal size, the number in a batch, and the (height, width) to resize their images to, if any."""

    files: Sequence[bytes]
    batch: int
    size: tuple[int, int] | None = None

    def batches(self) -> Iterator[Sequence[bytes]]:
        """Yield the files of each batch."""
        for start in range(0, len(self.files), self.batch):
            yield self.files[start : start + self.batch]

    def ratio(self) -> int:
        """Return the largest of 1, 2, 4 and 8 by which an image can be divided without getting smaller than `size`."""
        header = bytecache.jpeg_header(self.files[0])
        height, width = self.size or (header.height, header.width)
        return max(ratio for ratio in (1, 2, 4, 8) if header.height >= ratio * height and header.width >= ratio * width)


class Decoder(NamedTuple):
    """One library doing a task: image by image on one thread, and batch by batch on two."""

    one: Callable[[], Iterator[Array]]
    two: Callable[[], Iterator[Array]]


def one_by_one(task: DecodeTask, decode: Callable[[bytes], Array]) -> Decoder:
    """Return a Decoder for a library without batches: an executor decodes on two threads, np.stack makes the batch."""

    def two() -> Iterator[Array]:
        for files in task.batches():
            yield np.stack(list(_executor().map(decode, files)))

    return Decoder(lambda: map(decode, task.files), two)


@functools.cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS)


def pillow_resize(image: Array, size: tuple[int, int]) -> Array:
    """Return the image resized to (height, width), antialiased."""
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def expected_images(task: DecodeTask) -> list[Array]:
    """Return the images that every decoder must give, by Pillow."""
    images = [np.asarray(Image.open(BytesIO(file)).convert("RGB")) for file in task.files]
    return [pillow_resize(image, task.size) for image in images] if task.size else images


def check(decoder: Decoder, task: DecodeTask, expected: Sequence[Array]) -> None:
    """Raise Absent if the decoder's images, one by one or in batches, differ from the expected ones."""
    batched = (image for batch in decoder.two() for image in batch)
    error = max(_difference(decoder.one(), expected), _difference(batched, expected))
    if error > (MAX_RESIZE_ERROR if task.size else MAX_DECODE_ERROR):
        raise Absent(f"gives different images, by {error:.1f} of 255")


def _difference(images: Iterator[Array], expected: Sequence[Array]) -> float:
    """Return the mean absolute difference; infinity if shapes or types differ. Raises ValueError if numbers do."""
    differences = []
    for image, other in zip(images, expected, strict=True):
        if image.shape != other.shape or image.dtype != other.dtype:
            return float("inf")
        differences.append(np.abs(image.astype(int) - other).mean())
    return float(np.mean(differences))


def compare(functions: Mapping[str, Callable[[], Any]], images: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Return images per second of each function, and its speed as a multiple of the first one's."""
    seconds = interleave(functions, rounds)
    first = next(iter(functions))
    return {
        name: {
            "per_s": summary(images / time for time in times),
            "times": speed(seconds, name, first),
        }
        for name, times in seconds.items()
    }
