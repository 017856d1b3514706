"""Resizers of one image, and ways to make resized batches on two threads, to train with them, and to check files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import cykooz_resizer
import numpy as np
import simplejpeg
import torch
from torch.utils.data import DataLoader

from benchmarks.peers.batch_decoding import Functions, on_bare_threads
from benchmarks.workloads.decode_tasks import compare, pillow_resize
from benchmarks.workloads.images import make_jpegs
from bytecache import check_images, decode_batch, decode_jpeg
from bytecache.images import resize as resizing
from bytecache.torch import EpochSampler, ImageDataset, collate

Array = np.ndarray[Any, Any]
SIZE, BATCH = (224, 224), 64


def measure_resizers(size: tuple[int, int], seed: int, rounds: int) -> dict[str, Any]:
    """Return the speed of each antialiased resizer on images of one size, on one thread."""
    images = [decode_jpeg(file) for file in make_jpegs(4, *size, seed)]
    torch.set_num_threads(1)
    out = np.empty((*SIZE, 3), np.uint8)

    def by_torch(image: Array) -> Any:
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
        return torch.nn.functional.interpolate(tensor, SIZE, mode="bilinear", antialias=True)

    resizers: dict[str, Callable[[Array], Any]] = {
        "Pillow, BILINEAR": lambda image: pillow_resize(image, SIZE),
        "bytecache, with cykooz-resizer": lambda image: resizing.resize(image, out),
        "torch, interpolate(antialias=True)": by_torch,
        "OpenCV, INTER_AREA": lambda image: cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_AREA),
    }
    return compare({name: loop(resize, images) for name, resize in resizers.items()}, len(images), rounds)


def loop(function: Callable[[Any], Any], items: Sequence[Any]) -> Callable[[], None]:
    """Return a function that calls another one with each item."""

    def run() -> None:
        for item in items:
            function(item)

    return run


def batches(files: Sequence[bytes]) -> Functions:
    """Return the ways to make the batches of an epoch on two threads; the first is the limit."""
    out = np.empty((BATCH, *SIZE, 3), np.uint8)
    data = ImageDataset(range(len(files)), None, load=files.__getitem__, size=SIZE)
    parts = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]

    def decode(part: Sequence[bytes]) -> Any:
        return decode_batch(part, size=SIZE, out=out, threads=2)

    def decode_with_pillow() -> None:
        implementation = resizing._implementation
        resizing._implementation = lambda: resizing._by_pillow
        try:
            loop(decode, parts)()
        finally:
            resizing._implementation = implementation

    return {
        "two bare threads: simplejpeg, cykooz-resizer": lambda: [resize_on_bare_threads(part, out) for part in parts],
        "decode_batch, size=(224, 224)": loop(decode, parts),
        "decode_batch, with Pillow's resize": decode_with_pillow,
        "torch.ImageDataset, num_workers=0": lambda: list(map(len, loader(data, EpochSampler(data, seed=0)))),
    }


def resize_on_bare_threads(files: Sequence[bytes], out: Array) -> None:
    """Decode and resize on two threads that share nothing but an iterator, with the calls that the packages offer."""
    algorithm = cykooz_resizer.ResizeAlg.convolution(cykooz_resizer.FilterType.bilinear)
    options, kind = cykooz_resizer.ResizeOptions(resize_alg=algorithm), cykooz_resizer.PixelType.U8x3
    resizers = [cykooz_resizer.Resizer() for _ in range(2)]

    def decode(index: int, thread: int) -> None:
        image = simplejpeg.decode_jpeg(files[index])
        height, width, _ = image.shape
        target = cykooz_resizer.ImageData(*SIZE[::-1], kind)
        source = cykooz_resizer.ImageData(width, height, kind, image.tobytes())
        resizers[thread].resize(source, target, options)
        out[index] = np.frombuffer(target.get_buffer(), np.uint8).reshape(*SIZE, 3)

    on_bare_threads(len(files), decode, 2)


def loader(data: Any, sampler: Any) -> Any:
    """Return a DataLoader in this process."""
    return DataLoader(data, batch_size=BATCH, sampler=sampler, collate_fn=collate)


def trainings(files: Sequence[bytes]) -> Functions:
    """Return an epoch whose steps wait as long as a batch takes: with batches made on request, and one ahead."""
    data = ImageDataset(range(len(files)), None, load=files.__getitem__, size=SIZE)
    start = time.perf_counter()
    decode_batch(files[:BATCH], size=SIZE, threads=2)
    step_s = time.perf_counter() - start

    def train(sampler: Any) -> None:
        for _ in loader(data, sampler):
            time.sleep(step_s)

    return {
        "each batch made on request": lambda: train(EpochSampler(len(data), seed=0)),
        "one batch made ahead": lambda: train(EpochSampler(data, seed=0)),
    }


def measure_check(files: Sequence[bytes], rounds: int) -> dict[str, Any]:
    """Return the speed of check_images and of decode_batch, on files of a folder; both read them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number_, file in enumerate(files * 4):
            paths.append(Path(folder, f"{number_}.jpg"))
            paths[-1].write_bytes(file)
        out = np.empty((BATCH, 375, 500, 3), np.uint8)

        def decode_all() -> None:
            for start in range(0, len(paths), BATCH):
                decode_batch([path.read_bytes() for path in paths[start : start + BATCH]], out=out)

        return compare({"decode_batch": decode_all, "check_images": lambda: check_images(paths)}, len(paths), rounds)
