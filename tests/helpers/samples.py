"""Samples of every kind that a dataset takes, and the options under which it decodes them."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
from helpers.images import exif_segment, insert, make_image, make_jpeg

N = 24
BAD = (5, 11)  # numbers of files that are damaged


def write_samples(folder: Path, orientations: bool = False) -> list[str]:
    """Write N images of unequal sizes, one in four a PNG, each with a mask of four classes; return their paths."""
    from PIL import Image

    paths = []
    for n in range(N):
        height, width = 40 + 3 * n, 90 - 2 * n
        path = folder / f"{n:02d}.{'png' if n % 4 == 3 else 'jpg'}"
        if n % 4 == 3:
            Image.fromarray(make_image(height, width, n)).save(path)
        else:
            data = make_jpeg(height, width, n, colorspace="GRAY" if n % 4 == 2 else "RGB")
            path.write_bytes(insert(data, exif_segment(1 + n % 8)) if orientations else data)
        mask = np.random.default_rng(n).integers(0, 4, (height, width), dtype=np.uint8)
        Image.fromarray(mask).save(folder / f"{n:02d}.mask", "PNG")
        paths.append(str(path))
    return paths


def damage(paths: list[str]) -> None:
    """Cut one file short, and replace another."""
    cut, replaced = (Path(paths[n]) for n in BAD)
    cut.write_bytes(cut.read_bytes()[:300])
    replaced.write_bytes(b"nothing")


class Load:
    """A read function of one kind of sample: "file", "mask", "pair", "array" or "array and mask". Picklable.

    wait_s: how long each call waits, as for storage that is far away.
    """

    def __init__(self, kind: str = "file", wait_s: float = 0.0) -> None:
        self.kind, self.wait_s = kind, wait_s

    def __call__(self, path: str) -> Any:
        time.sleep(self.wait_s)
        if self.kind == "file":
            return Path(path).read_bytes()
        if self.kind == "mask":
            return Path(path).read_bytes(), Path(path).with_suffix(".mask").read_bytes()
        if self.kind == "pair":
            return Path(path).read_bytes(), make_jpeg(50, 70, 3)
        image = make_image(40, 60, len(path))
        return (image, np.load(_mask(image))) if self.kind == "array and mask" else image


def _mask(image: np.ndarray[Any, Any]) -> io.BytesIO:
    file = io.BytesIO()
    np.save(file, image[..., 0] // 64)
    file.seek(0)
    return file


def read_all(paths: list[str]) -> list[bytes]:
    """Read several files in one call."""
    return [Path(path).read_bytes() for path in paths]


SIZE = {"size": (32, 48)}
# By name: the kind of the samples, and the options of the dataset.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "stretched": ("file", SIZE),
    "cropped": ("file", {**SIZE, "resize": "crop"}),
    "padded": ("file", {**SIZE, "resize": "pad", "pad_value": (9, 99, 199)}),
    "cropped at random": ("file", {**SIZE, "resize": "random_crop"}),
    "gray": ("file", {**SIZE, "colorspace": "GRAY"}),
    "upright": ("file", {**SIZE, "orient": True}),
    "fast": ("file", {**SIZE, "fast": True}),
    "with masks": ("mask", {**SIZE, "masks": 1}),
    "with masks, padded": ("mask", {**SIZE, "masks": 1, "resize": "pad", "pad_value": 7}),
    "with masks, cropped at random": ("mask", {**SIZE, "masks": 1, "resize": "random_crop"}),
    "pairs": ("pair", SIZE),
    "arrays": ("array", {}),
    "arrays, resized": ("array", {**SIZE, "resize": "crop"}),
    "arrays with masks": ("array and mask", {**SIZE, "masks": 1}),
    "some damaged": ("file", {**SIZE, "on_error": "skip"}),
    "some damaged, not strict": ("file", {**SIZE, "on_error": "skip", "strict": False}),
    "some too large": ("file", {**SIZE, "on_error": "skip", "max_pixels": 5000}),
}
