"""Scenes made of photographs: cut-out fish ("stamps") pasted over crops of background pictures."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from . import placement
from .placement import DrawFish, Placed
from .problem import Problem
from .scene import blend, finish

PICTURES = (".jpg", ".jpeg", ".png")
LONGEST_SIDE_PX = 1024  # of a photograph kept in memory: crops need no more, and 24 of them take 72 MiB at most
STAMP_SIDE_PX = 256


def compose_scene(
    count: int, size: int, rng: np.random.Generator, stamps: list[Path], backgrounds: list[Path]
) -> Image.Image:
    """Paste exactly `count` stamps over a background: RGB, `size` x `size` pixels, each stamp at least half visible.

    `stamps` and `backgrounds` are paths as `find_stamps` and `find_backgrounds` give them. Each process keeps the
    files that it has opened. Raises Problem where a picture cannot be read.
    """
    return compose_scene_and_fish(count, size, rng, stamps, backgrounds)[0]


def compose_scene_and_fish(
    count: int, size: int, rng: np.random.Generator, stamps: list[Path], backgrounds: list[Path]
) -> tuple[Image.Image, list[Placed]]:
    """The picture of `compose_scene`, and the stamps in it as they were laid, farthest first."""
    picture = _crop(open_background(backgrounds[rng.integers(len(backgrounds))]), size, rng)
    placed = placement.place(_paster(stamps), count, size, rng)
    for one in placed:
        light = rng.uniform(0.8, 1.1)
        blend(picture, one, np.minimum(255, light * one.rgba[..., :3].astype(np.float32)))
    return finish(picture, rng), placed


def find_stamps(folder: Path) -> list[Path]:
    """All PNG files below `folder` that hold a cut-out, sorted. Raises Problem where there is none."""
    stamps = [path for path in _files(folder, (".png",), "--stamps") if open_stamp(path) is not None]
    if not stamps:
        raise Problem(
            f"--stamps must hold PNG pictures with a transparent ground, found none in {folder}: "
            "on Debian, apt-get install tuxpaint-stamps-default and name /usr/share/tuxpaint/stamps/animals/fish"
        )
    return stamps


def find_backgrounds(folder: Path) -> list[Path]:
    """All JPEG and PNG files below `folder`, sorted; each has been opened. Raises Problem where there is none."""
    backgrounds = _files(folder, PICTURES, "--backgrounds")
    if not backgrounds:
        raise Problem(f"--backgrounds must hold pictures ({', '.join(PICTURES)}), found none in {folder}")
    for path in backgrounds:
        open_background(path)
    return backgrounds


@lru_cache(maxsize=512)
def open_stamp(path: Path) -> Image.Image | None:
    """The cut-out in a PNG file, trimmed and at most 256 pixels long; None for a picture that is no cut-out."""
    image = _read(path, "a PNG picture")
    if "A" not in image.getbands() and "transparency" not in image.info:
        return None
    image = image.convert("RGBA")
    box = image.getchannel("A").point(lambda alpha: 255 * (alpha > 127)).getbbox()
    if box is None or image.getchannel("A").getextrema()[0] > 127:
        return None
    image = image.crop(box)
    image.thumbnail((STAMP_SIDE_PX, STAMP_SIDE_PX))
    return image


@lru_cache(maxsize=24)
def open_background(path: Path) -> Image.Image:
    """A photograph as RGB, at most 1024 pixels long."""
    image = _read(path, "a picture", draft=True)
    image.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
    return image.convert("RGB")


def _files(folder: Path, endings: tuple[str, ...], option: str) -> list[Path]:
    if not folder.is_dir():
        raise Problem(f"{option} must name a folder, got {folder}: make it or name another")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings and path.is_file())


def _read(path: Path, expected: str, draft: bool = False) -> Image.Image:
    try:
        with Image.open(path) as image:
            if draft:
                image.draft("RGB", (LONGEST_SIDE_PX, LONGEST_SIDE_PX))  # decodes a large JPEG at 1/2, 1/4 or 1/8
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Problem(f"expected {expected} in {path}, could not read it ({error}): replace or remove it") from error


def _crop(image: Image.Image, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square of the photograph, mirrored or not, scaled to `size`: float32."""
    most = min(image.size)
    side = int(rng.integers(min(size, most), most + 1))
    left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
    crop = image.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(crop, np.float32)


def _paster(stamps: list[Path]) -> DrawFish:
    def draw(length_px: float, rng: np.random.Generator) -> Image.Image:
        stamp = open_stamp(stamps[rng.integers(len(stamps))])
        assert stamp is not None  # find_stamps lets none through
        scale = length_px / max(stamp.size)
        shape = max(3, round(stamp.width * scale)), max(3, round(stamp.height * scale))
        image = stamp.resize(shape, Image.Resampling.BOX)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = image.rotate(25 * rng.standard_normal(), Image.Resampling.BICUBIC, expand=True)
        return image.crop(image.getchannel("A").getbbox())

    return draw
