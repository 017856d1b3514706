"""What decode_batch gains: threads against what the machine gives, size= against a whole decode, fast=True."""

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


def one_thread(datas: Sequence[bytes]) -> Functions:
    """decode_jpeg against simplejpeg, each in a loop that drops the image."""

    def loop(decode: Callable[..., Any], **options: Any) -> Callable[[], None]:
        def run() -> None:
            for data in datas:
                decode(data, **options)

        return run

    return {
        "simplejpeg.decode_jpeg": loop(simplejpeg.decode_jpeg),
        "decode_jpeg": loop(decode_jpeg),
        "decode_jpeg, fast=True": loop(decode_jpeg, fast=True),
    }


def bare_threads(datas: Sequence[bytes], out: np.ndarray[Any, Any], threads: int) -> None:
    """Decodes into `out` on threads that share nothing but an iterator."""
    indices = iter(range(len(datas)))

    def share() -> None:
        for index in indices:
            simplejpeg.decode_jpeg(datas[index], buffer=out[index])

    helpers = [Thread(target=share) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    share()
    for helper in helpers:
        helper.join()


def two_threads(datas: Sequence[bytes]) -> Functions:
    """decode_batch, with an array to fill and without, against a loop, and against threads that do nothing else."""
    out = np.empty((len(datas), *SIZE, 3), np.uint8)

    def drop() -> None:
        for data in datas:
            decode_jpeg(data)

    return {
        "decode_jpeg in a loop": drop,
        "decode_batch, threads=1, out=": lambda: decode_batch(datas, threads=1, out=out),
        LIMIT: lambda: bare_threads(datas, out, 2),
        "decode_batch, threads=2, out=": lambda: decode_batch(datas, threads=2, out=out),
        "decode_batch, threads=2, a fresh array": lambda: decode_batch(datas, threads=2),
        "decode_batch, threads=2, out=, fast=True": lambda: decode_batch(datas, threads=2, out=out, fast=True),
    }


def shrinking(datas: Sequence[bytes]) -> Functions:
    """decode_batch with size= against the same resize of the whole image."""
    out = np.empty((len(datas), *SIZE, 3), np.uint8)

    def whole() -> None:
        for index, data in enumerate(datas):
            out[index] = pillow_resize(decode_jpeg(data), SIZE)

    def scaled(**options: Any) -> Callable[[], Any]:
        return lambda: decode_batch(datas, size=SIZE, threads=1, out=out, **options)

    return {
        "decode_jpeg, then Pillow's resize": whole,
        "decode_batch, size=(256, 256)": scaled(),
        "decode_batch, size=(256, 256), fast=True": scaled(fast=True),
    }
