"""Images to decode: drawn with numpy, smooth and slightly noisy like photographs, and encoded by simplejpeg."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from bytecache.images import jpeg, segments


def make_image(height: int, width: int, seed: int = 0, channels: int = 3) -> np.ndarray[Any, Any]:
    """Return a uint8 image (height, width, channels): gradients, eight shapes, a little noise, and no symmetry."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = y[..., None] * rng.uniform(30, 120, channels) + x[..., None] * rng.uniform(30, 120, channels)
    for _ in range(8):
        cy, cx, ry, rx = *rng.uniform(0, 1, 2), *rng.uniform(0.05, 0.3, 2)
        inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        light[inside] = 0.4 * light[inside] + rng.uniform(0, 150, channels)
    light += rng.normal(0, 3, light.shape)
    return light.clip(0, 255).astype(np.uint8)


def make_jpeg(
    height: int, width: int, seed: int = 0, *, colorspace: str = "RGB", quality: int = 90, subsampling: str = "420"
) -> bytes:
    """Return a baseline JPEG of make_image; colorspace is "RGB" or "GRAY"."""
    image = make_image(height, width, seed, 1 if colorspace == "GRAY" else 3)
    return simplejpeg.encode_jpeg(image, quality, colorspace, "Gray" if colorspace == "GRAY" else subsampling)


def pil_jpeg(image: np.ndarray[Any, Any], mode: str = "RGB", **options: Any) -> bytes:
    """Return the image (H, W, 3) encoded by Pillow, in any mode and with any option of Pillow's JPEG writer."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(image).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def by_pillow(data: bytes, mode: str = "RGB", scale: int = 1) -> np.ndarray[Any, Any]:
    """Return what Pillow decodes, "RGB" or "L", at 1, 1/2, 1/4 or 1/8 of its size if the sides are multiples of it."""
    from PIL import Image

    image = Image.open(BytesIO(data))
    image.draft(mode, (image.width // scale, image.height // scale))  # for gray the luma, as libjpeg gives it
    return np.asarray(image.convert("RGB").convert(mode))


def exif_segment(orientation: int, order: str = ">", kind: int = 3, tag: int = 0x0112) -> bytes:
    """Return an APP1 segment of three Exif entries, the orientation in the middle; order: of bytes, "<" or ">"."""
    tiff = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8) + struct.pack(order + "H", 3)
    tiff += struct.pack(order + "HHII", 0x0100, 4, 1, 4321)
    tiff += struct.pack(order + "HHIHH", tag, kind, 1, orientation, 0)
    tiff += struct.pack(order + "HHII", 0x0131, 2, 4, 0x61626300) + struct.pack(order + "I", 0)
    return segment(0xE1, b"Exif\0\0" + tiff)


def segment(marker: int, payload: bytes) -> bytes:
    """Return a JPEG segment: marker, length, payload."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload


def insert(jpeg: bytes, *segments: bytes) -> bytes:
    """Return the file with segments inserted after its first two bytes."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def claim_size(jpeg: bytes, height: int, width: int) -> bytes:
    """Return the file with another size in its frame header (SOF0, SOF1 or SOF2): a decompression bomb."""
    offset = 2
    while jpeg[offset + 1] not in (0xC0, 0xC1, 0xC2):
        offset += 2 + int.from_bytes(jpeg[offset + 2 : offset + 4], "big")
    return jpeg[: offset + 5] + struct.pack(">HH", height, width) + jpeg[offset + 9 :]


def difference(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Return the mean absolute difference of two images of one shape, in levels of 255."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


def flat_jpeg(height: int, width: int, gray: int) -> bytes:
    """Return a JPEG of a single gray, which identifies it."""
    return simplejpeg.encode_jpeg(np.full((height, width, 3), gray, np.uint8), 90)


def write_gray_files(folder: Path, n: int = 10) -> list[Path]:
    """Write n JPEG files of 24 x 32 pixels, file i with gray 20 * i, and return their paths."""
    paths = [folder / f"{i}.jpg" for i in range(n)]
    for i, path in enumerate(paths):
        path.write_bytes(flat_jpeg(24, 32, i * 20))
    return paths


def count_headers(monkeypatch: Any) -> list[int]:
    """Return a list that grows by the length of the data with each header that is read."""
    lengths: list[int] = []

    def counted(data: Any) -> Any:
        lengths.append(len(data))
        return segments.read_frame(data)

    monkeypatch.setattr(jpeg, "read_frame", counted)
    return lengths


def lossless_jpeg(height: int, width: int, components: int = 3) -> bytes:
    """Return a lossless JPEG (SOF3) of 8 bits, all 128: each difference is 0, and coded as a 0 bit. RGB or gray."""
    ids = range(1, components + 1)
    frame = struct.pack(">BHHB", 8, height, width, components) + b"".join(bytes([n, 0x11, 0]) for n in ids)
    data = b"\xff\xd8" + (segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") if components == 3 else b"") + segment(0xC3, frame)
    data += segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0")
    data += segment(0xDA, bytes([components]) + b"".join(bytes([n, 0]) for n in ids) + b"\1\0\0")
    return data + bytes((height * width * components + 7) // 8) + b"\xff\xd9"


def blocky_jpeg(height: int, width: int, factors: list[tuple[int, int]], seed: int = 0) -> bytes:
    """Return a baseline YCbCr JPEG of flat blocks with these (horizontal, vertical) sampling factors."""
    data = b"\xff\xd8" + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + segment(0xDB, b"\0" + b"\x08" * 64)
    parts = b"".join(bytes([n + 1, h << 4 | v, 0]) for n, (h, v) in enumerate(factors))
    data += segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + parts)
    data += segment(0xC4, b"\0" + bytes([1, 1] + [0] * 14) + bytes([0, 4]))  # DC: "0" is 0, "10" four bits
    data += segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")  # AC: "0" ends the block
    data += segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0]))
    rng, most = np.random.default_rng(seed), [max(factor[axis] for factor in factors) for axis in (0, 1)]
    units = -(-height // (8 * most[1])) * -(-width // (8 * most[0]))
    bits = "".join(
        f"10{rng.integers(16):04b}0" if rng.random() < 0.5 else "00"
        for _ in range(units * sum(h * v for h, v in factors))
    )
    bits += "1" * (-len(bits) % 8)
    return data + int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0") + b"\xff\xd9"
