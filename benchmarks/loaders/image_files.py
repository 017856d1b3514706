"""Reading and decoding image files, for loaders that leave both to the user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from io import BytesIO
from typing import Any
from urllib.request import urlopen

import numpy as np
import simplejpeg
from PIL import Image

import bytecache
from bytecache.images import resize as resizing

from . import Job

Array = np.ndarray[Any, Any]


def read(path: str) -> bytes:
    """Return the bytes of a file or a URL."""
    if path.startswith("http"):
        import fsspec

        return fsspec.filesystem("http").cat_file(path)
    with open(path, "rb") as f:
        return f.read()


def fetch(path: str) -> bytes:
    """Return the bytes of a file or a URL that does not count: by a client that keeps neither thread nor connection."""
    if path.startswith("http"):
        with urlopen(path) as answer:
            return answer.read()
    return read(path)


@cache
def http_reader() -> Any:
    """Return this process's HttpReader: whole URLs are its keys."""
    from bytecache.http import HttpReader

    return HttpReader()


def read_all(paths: Sequence[str]) -> list[bytes]:
    """Return the bytes of URLs, fetched in one call. Raises the first exception."""
    results = http_reader()(paths)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def read_each(paths: Sequence[str]) -> list[bytes]:
    """Return the bytes of files or URLs, read one after the other."""
    return [read(path) for path in paths]


def reader(job: Job) -> Callable[[Sequence[str]], list[bytes]]:
    """Return the function that reads the files of a list of paths."""
    return read_all if job.our_reader else read_each


def cached(job: Job, **options: Any) -> Callable[[str], Any]:
    """Return the cached function that reads a file; over HTTP it fetches what a batch lacks in one call."""
    if job.remote:
        return bytecache.fill_once(batched=True, **options)(http_reader())
    return bytecache.fill_once(**options)(read)


def reading(job: Job) -> dict[str, Any]:
    """Return how a data set reads that makes its cache itself; over HTTP it fetches what a batch lacks in one call."""
    return {"load": http_reader(), "batched": True} if job.remote else {"load": read}


def decode(data: bytes, side: int) -> Array:
    """Return uint8 (side, side, 3), by simplejpeg (libjpeg-turbo) and Pillow's resize."""
    return resize(Image.fromarray(simplejpeg.decode_jpeg(data)), side)


def decode_pillow(data: bytes, side: int) -> Array:
    """Return uint8 (side, side, 3), by Pillow alone."""
    return resize(Image.open(BytesIO(data)).convert("RGB"), side)


def resize(image: Image.Image, side: int) -> Array:
    """Return the image resized to a square, with the filter that bytecache uses."""
    return np.array(image.resize((side, side), Image.Resampling.BILINEAR))


def decode_faster(data: bytes, side: int) -> Array:
    """Return uint8 (side, side, 3), by simplejpeg and the resize of bytecache."""
    out = np.empty((side, side, 3), np.uint8)
    resizing.resize(simplejpeg.decode_jpeg(data), out)
    return out


def decoder(job: Job) -> Callable[[bytes], Array]:
    """Return the function that decodes and resizes the bytes of a file."""
    return partial(decode_faster if job.our_resizer else decode, side=job.side)


class Files:
    """A map-style data set as users write it: `(image, label)`, image a uint8 array (side, side, 3)."""

    def __init__(self, job: Job, decode: Callable[[bytes], Array] | None = None) -> None:
        self._paths, self._read, self._decode = job.paths, reader(job), decode or decoder(job)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Array, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Array, int]]:
        """Return a batch, which a DataLoader asks for in one call."""
        files = self._read([self._paths[index] for index in indices])
        return [(self._decode(data), index) for data, index in zip(files, indices, strict=True)]
