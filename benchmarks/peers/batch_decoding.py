"""What decode_batch gains: two threads against what the machine can do, size= against a full decode, fast=True."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import numpy as np
import simplejpeg

from benchmarks.workloads.decode_tasks import pillow_resize
from bytecache import decode_batch, decode_jpeg

Functions = dict[str, Callable[[], Any]]
LIMIT = "simplejpeg in two bare threads, the machine's limit"
SIZE = (256, 256)


def one_thread(files: Sequence[bytes]) -> Functions:
    """Return decode_jpeg and simplejpeg, each in a loop that discards the images."""

    def loop(decode: Callable[..., Any], **options: Any) -> Callable[[], None]:
        def run() -> None:
            for file in files:
                decode(file, **options)

        return run

    return {
        "simplejpeg.decode_jpeg": loop(simplejpeg.decode_jpeg),
        "decode_jpeg": loop(decode_jpeg),
        "decode_jpeg, fast=True": loop(decode_jpeg, fast=True),
    }


def on_bare_threads(count: int, decode: Callable[[int, int], Any], threads: int) -> None:
    """Call ``decode(index, thread)`` for each index, on threads that share nothing but an iterator."""
    indices = iter(range(count))

    def work(thread: int) -> None:
        for index in indices:
            decode(index, thread)

    helpers = [Thread(target=work, args=(thread,)) for thread in range(1, threads)]
    for helper in helpers:
        helper.start()
    work(0)
    for helper in helpers:
        helper.join()


def bare_threads(files: Sequence[bytes], out: np.ndarray[Any, Any], threads: int) -> None:
    """Decode into `out` on bare threads."""
    on_bare_threads(len(files), lambda index, _: simplejpeg.decode_jpeg(files[index], buffer=out[index]), threads)


def two_threads(files: Sequence[bytes]) -> Functions:
    """Return decode_batch, with and without an array to fill, a loop, and threads that do nothing but decode."""
    out = np.empty((len(files), *SIZE, 3), np.uint8)

    def loop() -> None:
        for file in files:
            decode_jpeg(file)

    return {
        "decode_jpeg in a loop": loop,
        "decode_batch, threads=1, out=": lambda: decode_batch(files, threads=1, out=out),
        LIMIT: lambda: bare_threads(files, out, 2),
        "decode_batch, threads=2, out=": lambda: decode_batch(files, threads=2, out=out),
        "decode_batch, threads=2, a fresh array": lambda: decode_batch(files, threads=2),
        "decode_batch, threads=2, out=, fast=True": lambda: decode_batch(files, threads=2, out=out, fast=True),
    }


def shrinking(files: Sequence[bytes]) -> Functions:
    """Return decode_batch with size=, and the same resize after a full decode."""
    out = np.empty((len(files), *SIZE, 3), np.uint8)

    def full() -> None:
        for index, file in enumerate(files):
            out[index] = pillow_resize(decode_jpeg(file), SIZE)

    def scaled(**options: Any) -> Callable[[], Any]:
        return lambda: decode_batch(files, size=SIZE, threads=1, out=out, **options)

    return {
        "decode_jpeg, then Pillow's resize": full,
        "decode_batch, size=(256, 256)": scaled(),
        "decode_batch, size=(256, 256), fast=True": scaled(fast=True),
    }
