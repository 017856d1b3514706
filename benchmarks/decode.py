"""How fast are decode_jpeg and decode_batch, relative to bare simplejpeg and to a decode and resize one by one?

    python -m benchmarks.decode [--rounds N] [--seed S] [--json FILE]

Needs Pillow, with which it resizes. The images are drawn: gradients, shapes and noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from threading import Thread
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

from benchmarks import _measure
from bytecache import decode_batch, decode_jpeg

Functions = Mapping[str, Callable[[], Any]]


class Question(NamedTuple):
    """One table: functions that do the same work, the first being the baseline, and the least speed that some owe."""

    title: str
    images: int
    functions: Functions
    targets: Mapping[str, float]


# Workload


def draw(height: int, width: int, seed: int) -> np.ndarray[Any, Any]:
    """A picture with smooth parts, edges, and the fine detail that makes a photograph cost bytes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = y[..., None] * rng.uniform(30, 120, 3) + x[..., None] * rng.uniform(30, 120, 3)
    for _ in range(30):
        cy, cx, ry, rx = *rng.uniform(0, 1, 2), *rng.uniform(0.02, 0.2, 2)
        inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        light[inside] = 0.5 * light[inside] + rng.uniform(0, 120, 3)
    for cell in (2, 5, 11):  # detail at several scales, the same in all channels
        rough = rng.normal(0, 5, (-(-height // cell), -(-width // cell)))
        light += np.repeat(np.repeat(rough, cell, 0), cell, 1)[:height, :width, None]
    return light.clip(0, 255).astype(np.uint8)


def encode(image: np.ndarray[Any, Any], progressive: bool = False) -> bytes:
    """The picture as a file of quality 90."""
    if not progressive:
        return simplejpeg.encode_jpeg(image, 90, "RGB", "420")  # type: ignore[no-any-return]
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90, progressive=True)
    return file.getvalue()


def questions(seed: int) -> list[Question]:
    """The comparisons, each with its files."""
    small = [encode(draw(256, 256, seed + index)) for index in range(96)]
    large = [draw(1080, 1920, seed + index) for index in range(4)]
    return [
        one_by_one("decode_jpeg, 96 images of 256 x 256, one thread", small),
        batched("decode_batch, 96 images of 256 x 256, two threads", small),
        resized("1080p to 256 x 256, one thread, baseline files", [encode(image) for image in large], 2.0),
        resized("1080p to 256 x 256, one thread, progressive files", [encode(image, True) for image in large], None),
    ]


def one_by_one(title: str, datas: Sequence[bytes]) -> Question:
    """decode_jpeg against simplejpeg, each in a loop that drops the image."""

    def bare() -> None:
        for data in datas:
            simplejpeg.decode_jpeg(data)

    def plain() -> None:
        for data in datas:
            decode_jpeg(data)

    def fast() -> None:
        for data in datas:
            decode_jpeg(data, fast=True)

    functions = {"simplejpeg.decode_jpeg": bare, "decode_jpeg": plain, "decode_jpeg, fast=True": fast}
    return Question(title, len(datas), functions, {"decode_jpeg": 0.97})


def batched(title: str, datas: Sequence[bytes]) -> Question:
    """decode_batch on two threads, with an array to fill and without, against a loop that fills the array."""
    out = np.empty((len(datas), 256, 256, 3), np.uint8)

    def drop() -> None:
        for data in datas:
            decode_jpeg(data)

    def fill() -> None:
        for index, data in enumerate(datas):
            decode_jpeg(data, out=out[index])

    def bare_half(indices: Iterator[int]) -> None:
        for index in indices:
            simplejpeg.decode_jpeg(datas[index], buffer=out[index])

    def bare() -> None:
        indices = iter(range(len(datas)))
        other = Thread(target=bare_half, args=(indices,))
        other.start()
        bare_half(indices)
        other.join()

    functions: Functions = {
        "decode_jpeg in a loop": drop,
        "decode_jpeg in a loop, out=": fill,
        "decode_batch, threads=1, out=": lambda: decode_batch(datas, threads=1, out=out),
        "simplejpeg in two bare threads, the machine's limit": bare,
        "decode_batch, threads=2, out=": lambda: decode_batch(datas, threads=2, out=out),
        "decode_batch, threads=2, a fresh array": lambda: decode_batch(datas, threads=2),
        "decode_batch, threads=2, out=, fast=True": lambda: decode_batch(datas, threads=2, out=out, fast=True),
    }
    targets = {"decode_batch, threads=2, out=": 1.75, "decode_batch, threads=2, a fresh array": 1.75}
    return Question(title, len(datas), functions, targets)


def resized(title: str, datas: Sequence[bytes], target: float | None) -> Question:
    """decode_batch with size= against the same resize of the whole image.

    A progressive file owes no speed: its coefficients are all read before any scale can help.
    """
    out = np.empty((len(datas), 256, 256, 3), np.uint8)

    def whole() -> None:
        for index, data in enumerate(datas):
            image = Image.fromarray(decode_jpeg(data))
            out[index] = np.asarray(image.resize((256, 256), Image.Resampling.BILINEAR))

    def scaled(**options: Any) -> Callable[[], Any]:
        return lambda: decode_batch(datas, size=(256, 256), threads=1, out=out, **options)

    functions = {"decode_jpeg + resize": whole, "size=(256, 256)": scaled(), "size=, fast=True": scaled(fast=True)}
    return Question(title, len(datas), functions, {"size=(256, 256)": target} if target else {})


# Measurement


def main() -> None:
    """Measures, prints a table for each question, and writes all figures where --json says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=41, metavar="N", help="rounds per table (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the images (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    about = _measure.environment("simplejpeg", "numpy", "pillow")
    print(*(f"{name} {value}" for name, value in about.items()), sep=", ")
    tables = [measure(question, options.rounds) for question in questions(options.seed)]
    _measure.write_json(
        options.json, {"about": about, "rounds": options.rounds, "seed": options.seed, "tables": tables}
    )


def measure(question: Question, rounds: int) -> dict[str, Any]:
    """The figures of one question: ms per image and speed against the first function, [median, low, high] each."""
    start, others = perf_counter(), _measure.others_cpu_s()
    seconds = _measure.interleave(question.functions, rounds)
    busy = max(0.0, (_measure.others_cpu_s() - others) / (perf_counter() - start))
    baseline = next(iter(question.functions))
    figures, rows = {}, []
    for name, times in seconds.items():
        ms = _measure.summary(1000 * time / question.images for time in times)
        speed, target = _measure.speed(seconds, name, baseline), question.targets.get(name)
        figures[name] = {"ms_per_image": ms, "speed": speed, "target": target}
        met = "" if target is None else f"{target} {'met' if speed.median >= target else 'MISSED'}"
        rows.append((name, ms, speed, met))
    columns = ("", "ms an image: median (10 % to 90 %)", "speed", "to reach")
    _measure.print_table(f"{question.title} (other processes kept {busy:.2f} cores busy)", columns, rows)
    return {"title": question.title, "cores_busy_elsewhere": busy, "functions": figures}


if __name__ == "__main__":
    main()
