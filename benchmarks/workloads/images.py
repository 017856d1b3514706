"""Images to measure with: crops of the photographs in scikit-image, or synthetic ones if it is not installed."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")  # those in the wheel; others would be downloaded
SHRINK = (1.25, 1.75)  # pixels of the photograph per pixel of the image: enlarging would leave no sharp detail
QUALITIES = {(256, 256): 89, (375, 500): 97}  # files of about 16 KB and 90 KB
OTHER_QUALITY = 90
MARKER = "complete.json"


def image_kind() -> str:
    """Return what the images are here: "photographs" or "synthetic images"."""
    return "photographs" if importlib.util.find_spec("skimage") else "synthetic images"


@functools.cache
def photographs() -> list[np.ndarray[Any, Any]]:
    """Return what images are cropped from, each uint8 (height, width, 3)."""
    if image_kind() != "photographs":
        return [draw(480, 640, seed) for seed in range(len(PHOTOGRAPHS))]
    import skimage.data

    return [getattr(skimage.data, name)() for name in PHOTOGRAPHS]


def draw(height: int, width: int, seed: int) -> np.ndarray[Any, Any]:
    """Return a synthetic image with gradients, edges, and the fine detail that makes photographs costly to encode."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = y[..., None] * rng.uniform(30, 120, 3) + x[..., None] * rng.uniform(30, 120, 3)
    for _ in range(30):
        cy, cx, ry, rx = *rng.uniform(0, 1, 2), *rng.uniform(0.02, 0.2, 2)
        inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        light[inside] = 0.5 * light[inside] + rng.uniform(0, 120, 3)
    for cell in (2, 5, 11):  # noise at several scales, the same in all channels
        noise = rng.normal(0, 5, (-(-height // cell), -(-width // cell)))
        light += np.repeat(np.repeat(noise, cell, 0), cell, 1)[:height, :width, None]
    return light.clip(0, 255).astype(np.uint8)


def make_image(height: int, width: int, seed: int | tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return a random crop of a photograph, randomly flipped, resized to uint8 (height, width, 3); one per seed."""
    rng = np.random.default_rng(seed)
    canvas = _canvases(height, width)[int(rng.integers(len(photographs())))]
    shrink = rng.uniform(*SHRINK)
    left, top = rng.uniform(0, canvas.width - shrink * width), rng.uniform(0, canvas.height - shrink * height)
    box = (left, top, left + shrink * width, top + shrink * height)
    crop = np.asarray(canvas.resize((width, height), Image.Resampling.BILINEAR, box))
    return np.ascontiguousarray(crop[:, :: 1 if rng.integers(2) else -1])


@functools.lru_cache(maxsize=8)
def _canvases(height: int, width: int) -> list[Image.Image]:
    """Return the photographs, padded by reflection if they are too small for the largest crop."""
    needed = (SHRINK[1] * height, SHRINK[1] * width)
    canvases = []
    for photograph in photographs():
        missing = [max(0, int(np.ceil(side - has))) for side, has in zip(needed, photograph.shape, strict=False)]
        padding = [(0, missing[0]), (0, missing[1]), (0, 0)]
        canvases.append(Image.fromarray(np.pad(photograph, padding, mode="symmetric")))
    return canvases


def encode_jpeg(
    image: np.ndarray[Any, Any], quality: int, subsampling: str = "420", progressive: bool = False
) -> bytes:
    """Return the image as a JPEG file."""
    if not progressive:
        return simplejpeg.encode_jpeg(image, quality, "RGB", subsampling)  # type: ignore[no-any-return]
    file = BytesIO()
    chroma = ":".join(subsampling)
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=chroma, progressive=True)
    return file.getvalue()


def make_jpegs(
    count: int, height: int, width: int, seed: int = 0, subsampling: str = "420", progressive: bool = False
) -> list[bytes]:
    """Return `count` different JPEG files, in memory."""
    quality = QUALITIES.get((height, width), OTHER_QUALITY)
    return [encode_jpeg(make_image(height, width, (seed, i)), quality, subsampling, progressive) for i in range(count)]


def make_jpeg_files(folder: Path, count: int, height: int, width: int, seed: int = 0) -> list[str]:
    """Write `count` different JPEG files, folder/000000.jpg and so on, on all cores, and return their paths.

    Files from an earlier call with the same arguments are reused; those from any other call are removed.
    """
    folder = Path(folder)
    paths = [f"{folder}/{index:06d}.jpg" for index in range(count)]
    call = {"count": count, "height": height, "width": width, "seed": seed, "kind": image_kind()}
    marker = folder / MARKER
    if marker.exists() and json.loads(marker.read_text(encoding="utf-8")) == call:
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    for old in (marker, *folder.glob("*.jpg")):  # the marker first: without it the set counts as incomplete
        old.unlink(missing_ok=True)
    quality = QUALITIES.get((height, width), OTHER_QUALITY)

    def make(index: int) -> None:
        Path(paths[index]).write_bytes(encode_jpeg(make_image(height, width, (seed, index)), quality))

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # resizing and encoding release the GIL
        for _ in pool.map(make, range(count)):
            pass
    marker.write_text(json.dumps(call), encoding="utf-8")
    return paths
