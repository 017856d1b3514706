"""Scenes composed of photographs: cut-out fish ("stamps") pasted over crops of backgrounds."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import UserError
from . import placement
from .draw import blend, finish
from .placement import DrawFish, PlacedFish

BACKGROUND_SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_BACKGROUND_PX = 1024  # of a photograph kept in memory: crops need no more, and 24 of them take at most 72 MiB
MAX_STAMP_PX = 256


def compose_scene(
    count: int, size: int, rng: np.random.Generator, stamps: list[Path], backgrounds: list[Path]
) -> Image.Image:
    """Paste exactly `count` stamps over a background: RGB, `size` x `size` pixels, each stamp at least half visible.

    `stamps` and `backgrounds` are paths from `find_stamps` and `find_backgrounds`. Each process keeps the files that it
    has opened. Raises UserError if a file cannot be read.
    """
    return compose_scene_and_fish(count, size, rng, stamps, backgrounds)[0]


def compose_scene_and_fish(
    count: int, size: int, rng: np.random.Generator, stamps: list[Path], backgrounds: list[Path]
) -> tuple[Image.Image, list[PlacedFish]]:
    """Return the image of `compose_scene` and the stamps in it, farthest first."""
    pixels = _crop(open_background(backgrounds[rng.integers(len(backgrounds))]), size, rng)
    placed = placement.place_fish(_stamp_drawer(stamps), count, size, rng)
    for fish in placed:
        light = rng.uniform(0.8, 1.1)
        blend(pixels, fish, np.minimum(255, light * fish.rgba[..., :3].astype(np.float32)))
    return finish(pixels, rng), placed


def find_stamps(folder: Path) -> list[Path]:
    """Return all PNG files below `folder` that are cut-outs, sorted. Raises UserError if there are none."""
    stamps = [path for path in _find_files(folder, (".png",), "--stamps") if open_stamp(path) is not None]
    if not stamps:
        raise UserError(
            f"--stamps must contain PNG images with a transparent background, found none in {folder}: "
            "on Debian, apt-get install tuxpaint-stamps-default and use /usr/share/tuxpaint/stamps/animals/fish"
        )
    return stamps


def find_backgrounds(folder: Path) -> list[Path]:
    """Return all JPEG and PNG files below `folder`, sorted. Raises UserError if none is there or one is unreadable."""
    backgrounds = _find_files(folder, BACKGROUND_SUFFIXES, "--backgrounds")
    if not backgrounds:
        raise UserError(f"--backgrounds must contain images ({', '.join(BACKGROUND_SUFFIXES)}), found none in {folder}")
    for path in backgrounds:
        open_background(path)
    return backgrounds


@lru_cache(maxsize=512)
def open_stamp(path: Path) -> Image.Image | None:
    """Return the cut-out in a PNG file, trimmed and at most 256 pixels long; None if the image is not a cut-out."""
    image = _open_image(path, "a PNG image")
    if "A" not in image.getbands() and "transparency" not in image.info:
        return None
    image = image.convert("RGBA")
    box = image.getchannel("A").point(lambda alpha: 255 * (alpha > 127)).getbbox()
    if box is None or image.getchannel("A").getextrema()[0] > 127:
        return None
    image = image.crop(box)
    image.thumbnail((MAX_STAMP_PX, MAX_STAMP_PX))
    return image


@lru_cache(maxsize=24)
def open_background(path: Path) -> Image.Image:
    """Return a photograph as RGB, at most 1024 pixels long."""
    image = _open_image(path, "an image", draft=True)
    image.thumbnail((MAX_BACKGROUND_PX, MAX_BACKGROUND_PX))
    return image.convert("RGB")


def _find_files(folder: Path, suffixes: tuple[str, ...], option: str) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{option} must be a folder, got {folder}: create it or choose another")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())


def _open_image(path: Path, expected: str, draft: bool = False) -> Image.Image:
    try:
        with Image.open(path) as image:
            if draft:
                image.draft("RGB", (MAX_BACKGROUND_PX, MAX_BACKGROUND_PX))  # decodes a large JPEG at 1/2, 1/4 or 1/8
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} must be {expected}, cannot read it ({error}): replace or remove it") from error


def _crop(image: Image.Image, size: int, rng: np.random.Generator) -> np.ndarray:
    """Crop a random square, mirrored or not, scaled to `size`: float32, size x size x 3."""
    longest = min(image.size)
    side = int(rng.integers(min(size, longest), longest + 1))
    left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
    crop = image.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(crop, np.float32)


def _stamp_drawer(stamps: list[Path]) -> DrawFish:
    def draw(length_px: float, rng: np.random.Generator) -> Image.Image:
        stamp = open_stamp(stamps[rng.integers(len(stamps))])
        assert stamp is not None  # find_stamps leaves the others out
        scale = length_px / max(stamp.size)
        shape = max(3, round(stamp.width * scale)), max(3, round(stamp.height * scale))
        image = stamp.resize(shape, Image.Resampling.BOX)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = image.rotate(25 * rng.standard_normal(), Image.Resampling.BICUBIC, expand=True)
        return image.crop(image.getchannel("A").getbbox())

    return draw
