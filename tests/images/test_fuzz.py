"""20,000 damaged images: each decodes or raises JpegError, with no crash, hang, other exception or memory leak.

The mutants are made and decoded in a process of their own: ``python tests/images/test_fuzz.py [COUNT [SEED]]``.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib.util
import json
import os
import random
import subprocess
import sys
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from helpers.encoded_files import ENCODED_FILES, LOSSLESS_YCBCR
from helpers.images import blocky_jpeg, exif_segment, insert, lossless_jpeg, make_jpeg, pil_jpeg

from bytecache import JpegError, decode_batch, decode_image, decode_jpeg, shrink_jpeg
from bytecache.images.formats import ImageDecoder

COUNT, SEED = 20_000, 20_240_607
WARM_UP = 5_000  # mutants after which memory must not grow any more
MAX_GROWTH_BYTES = 8 * 2**20  # in all the later ones
DEADLINE_S = 300
CANARIES = 32_768  # bytes on both sides of `out`
MAX_PIXELS = 1_000_000  # mutated headers may declare large sizes
HAS_PIL = importlib.util.find_spec("PIL") is not None


@pytest.mark.exhaustive
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="resident memory is read from /proc")
def test_mutants_give_an_image_or_an_error() -> None:
    """decode_image, strict or not, and decode_batch raise JpegError or return an image, and memory does not grow."""
    command = [sys.executable, "-W", "error", __file__, str(COUNT), str(SEED)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(__file__).parents[up]) for up in (1, 2))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * DEADLINE_S)
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout)
    assert report["mutants"] == COUNT
    assert report["growth"] < MAX_GROWTH_BYTES
    # If one of the outcomes were rare, the mutants would prove little.
    for way in ("strict", "not strict", "batch"):
        assert report["outcomes"][f"{way}: image"] > COUNT / 20
        assert report["outcomes"][f"{way}: error"] > COUNT / 20


def main(count: int, seed: int) -> None:
    """Decode the mutants and print the outcomes; an exception other than JpegError ends it with a traceback."""
    faulthandler.dump_traceback_later(DEADLINE_S, exit=True)
    faulthandler.enable()
    rng, files, outcomes = random.Random(seed), originals(), Counter[str]()
    warm = growth = 0
    for number in range(count):
        kind, data = mutate(rng, files)
        try:
            outcomes.update(try_all_ways(rng, data))
        except BaseException:
            print(f"mutant {number} of seed {seed}, {kind}: {data.hex()[:4000]}", file=sys.stderr)
            raise
        if number + 1 == WARM_UP:
            warm = resident_bytes()
    if count > WARM_UP:
        growth = resident_bytes() - warm
    json.dump({"mutants": count, "files": len(files), "growth": growth, "outcomes": outcomes}, sys.stdout)


def try_all_ways(rng: random.Random, data: bytes) -> list[str]:
    """Return the outcomes of decoding: "strict: image", "batch: error" and so on; let other exceptions through."""
    options: dict[str, Any] = {
        "colorspace": rng.choice(["RGB", "RGB", "BGR", "GRAY"]),
        "fast": rng.random() < 0.2,
        "orient": rng.random() < 0.5,
        "max_pixels": MAX_PIXELS,
    }
    outcomes = []
    for way, strict in (("strict", True), ("not strict", False)):
        min_size = rng.choice([None, (rng.randint(1, 150), rng.randint(1, 150))])
        try:
            image = decode_image(data, min_size=min_size, strict=strict, **options)
            check_image(image, data, min_size, options)
            check_out(image, data, min_size=min_size, strict=strict, **options)
            outcomes.append(f"{way}: image")
        except JpegError:
            outcomes.append(f"{way}: error")
    outcomes.append(try_batch(rng, data, options))
    return outcomes


def check_image(image: np.ndarray, data: bytes, min_size: tuple[int, int] | None, options: dict[str, Any]) -> None:
    """Assert that the image has the size that the header declares, or a scaled one that is large enough."""
    channels = 1 if options["colorspace"] == "GRAY" else 3
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.shape[2] == channels
    size = size_of(data)
    if min_size is None:
        assert sorted(image.shape[:2]) == sorted(size), (image.shape, size)
    else:
        assert image.shape[0] * image.shape[1] <= size[0] * size[1] <= MAX_PIXELS
    assert int(image.max()) <= 255  # reads every pixel


def check_out(image: np.ndarray, data: bytes, **options: Any) -> None:
    """Assert that a decode into `out` gives the same, whatever was there, and writes nothing around it."""
    canary = np.full(image.size + 2 * CANARIES, 0xA7, np.uint8)
    out = canary[CANARIES:-CANARIES].reshape(image.shape)
    assert decode_image(data, out=out, **options) is out
    assert np.array_equal(out, image) and (canary[:CANARIES] == 0xA7).all() and (canary[-CANARIES:] == 0xA7).all()


def try_batch(rng: random.Random, data: bytes, options: dict[str, Any]) -> str:
    """Decode the mutant among good images; an error must name its index."""
    at, size = rng.randrange(1, 4), (40, 56) if HAS_PIL and rng.random() < 0.5 else None
    good = like(data) if size is None else GOOD
    batch = [good, good, good, good]
    batch[at] = data
    try:
        images = decode_batch(batch, size=size, strict=rng.random() < 0.5, threads=rng.choice([1, 2, 3]), **options)
    except JpegError as error:
        assert error.index == at and str(error).startswith(f"image {at}: "), (error.index, at, str(error))
        return "batch: error"
    assert len(images) == 4 and (images[0] == images[at - 1]).all()
    return "batch: image"


GOOD = make_jpeg(128, 96)
_likes: dict[tuple[int, int], bytes] = {}


def like(data: bytes) -> bytes:
    """Return a good image of the mutant's size, if that is the size of an original."""
    with contextlib.suppress(JpegError):
        return _likes.get(size_of(data), GOOD)
    return GOOD


def size_of(data: bytes) -> tuple[int, int]:
    """Return height and width in pixels, as stored, from the header alone."""
    spec = ImageDecoder(max_pixels=MAX_PIXELS).spec(data)
    return spec.height, spec.width


# Mutants


def originals() -> list[bytes]:
    """Return small files of many kinds, from real photographs if packages that contain them are installed."""
    files = [shrunk for photo in photographs() if (shrunk := shrink_jpeg(photo, max_side=128)) != photo]
    files = files or [make_jpeg(96, 128, seed) for seed in range(4)]
    pixels, others = [decode_jpeg(data) for data in files], []
    for subsampling in ("444", "422", "440", "411"):
        files.append(simplejpeg.encode_jpeg(pixels[0], 80, "RGB", subsampling))
    files.append(simplejpeg.encode_jpeg(decode_jpeg(files[0], colorspace="GRAY"), 80, "GRAY", "Gray"))
    files += [lossless_jpeg(96, 128), lossless_jpeg(96, 128, 1), blocky_jpeg(96, 128, [(4, 1), (2, 1), (2, 1)])]
    if HAS_PIL:
        files += [pil_jpeg(pixels[-1], progressive=True), pil_jpeg(pixels[-1], "L", progressive=True)]
        files += [pil_jpeg(pixels[0], "CMYK"), pil_jpeg(pixels[0], restart_marker_rows=1)]
        others = [encode(image, kind) for kind in ("PNG", "WEBP", "GIF", "TIFF", "BMP") for image in pixels[:2]]
    files += [insert(data, exif_segment(orientation)) for data, orientation in zip(files, (6, 3, 8, 5), strict=False)]
    files += ENCODED_FILES.values()
    _likes.update((size_of(data), data) for data in files)
    return [*files, *others, LOSSLESS_YCBCR]  # the last one cannot be decoded


def encode(image: np.ndarray, kind: str) -> bytes:
    """Return the image as a file of another format."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def photographs() -> list[bytes]:
    """Return the JPEG photographs in the data of scikit-image and scikit-learn, if Pillow can shrink them."""
    photos = []
    for package, folder in (("skimage", "data"), ("sklearn", "datasets/images")):
        spec = importlib.util.find_spec(package) if HAS_PIL else None
        if spec is not None and spec.origin is not None:
            photos += sorted(Path(spec.origin).parent.joinpath(folder).glob("*.jp*g"))
    return [photo.read_bytes() for photo in photos]


def mutate(rng: random.Random, files: list[bytes]) -> tuple[str, bytes]:
    """Return one of the files, damaged in one of six ways: (which way, the bytes)."""
    data, other = bytearray(rng.choice(files)), rng.choice(files)
    kind = rng.choice(["bit flips", "header flips", "truncation", "hole", "spliced headers", "spliced segments"])
    header = min(scan_start(data) + 12, len(data))
    if kind == "bit flips":
        for _ in range(rng.choice([1, 3, 30])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "header flips":
        for _ in range(rng.choice([1, 2, 5])):
            data[rng.randrange(header)] = rng.choice([0, 1, 0x7F, 0xFF, rng.randrange(256)])
    elif kind == "truncation":
        del data[rng.choice([rng.randrange(len(data)), rng.randrange(header)]) :]
    elif kind == "hole":
        begin = rng.randrange(len(data))
        del data[begin : begin + rng.choice([1, 2, 50, 1000])]
    elif kind == "spliced headers":
        data[: rng.choice([header, rng.randrange(header)])] = other[: rng.choice([header, scan_start(other)])]
    else:
        begin = rng.randrange(2, len(other))
        at = rng.choice([2, rng.randrange(2, header)])
        data[at:at] = other[begin : begin + rng.choice([20, 200, 600])]
    return kind, bytes(data)


def scan_start(data: bytes | bytearray) -> int:
    """Return the offset of the start-of-scan marker, where the header ends."""
    return max(data.find(b"\xff\xda"), 4)


def resident_bytes() -> int:
    """Return the resident memory of this process, without what is free: the allocator keeps some of that for reuse."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*arguments, *(COUNT, SEED)[len(arguments) :])
