"""Where the fish go: cut-outs that may overlap, but can all still be counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

# A fish counts if half of it is visible. The margin keeps that true for whoever draws the edge of a fish elsewhere.
MIN_VISIBLE = 0.5
MARGIN = 0.06

# Lengths as fractions of the image's side: 26 and 70 pixels of 256. Seen from the front a fish is up to 15 % shorter.
MIN_LENGTH = 26 / 256
MAX_LENGTH = 70 / 256

# The largest count for which the last resort, a grid of 8 by 8 cells of 1/8 side, has room at the minimum length.
MAX_FISH = 60

TRIES_PER_LENGTH = 24
LENGTHS_PER_FISH = 4
LAYOUTS = 3

DrawFish = Callable[[float, np.random.Generator], Image.Image]


@dataclass(frozen=True)
class PlacedFish:
    """A cut-out in the image: pixels (uint8, height x width x RGBA), upper left corner, depth (0 near, 1 far)."""

    rgba: np.ndarray
    left: int
    top: int
    depth: float

    @property
    def mask(self) -> np.ndarray:
        """The pixels that count as the fish: bool, height x width."""
        return solid_mask(self.rgba)


def solid_mask(rgba: np.ndarray) -> np.ndarray:
    """Return the pixels at least half as opaque as the most opaque one, so that no cut-out is empty."""
    alpha = rgba[..., 3]
    return alpha >= max(1, (int(alpha.max()) + 1) // 2)


def place_fish(draw_fish: DrawFish, count: int, size: int, rng: np.random.Generator) -> list[PlacedFish]:
    """Place exactly `count` fish in a square of `size` pixels, farthest first, each at least half visible.

    `draw_fish(length_px, rng)` returns an RGBA cut-out; if the image is crowded, it is called again for a shorter one.
    The number of tries is bounded: if random placement fails, the fish are placed on a grid.
    """
    for _ in range(LAYOUTS):
        placed = _scatter(draw_fish, count, size, rng)
        if len(placed) == count:
            return placed
    return _on_grid(draw_fish, count, size, rng)


def visible_fractions(placed: list[PlacedFish], size: int) -> list[float]:
    """Return the fraction of each fish that is visible, from the masks alone: later fish cover earlier ones."""
    visibility = _VisibilityMap(size)
    for fish in placed:
        visibility.add(fish.mask, fish.left, fish.top)
    visible = np.bincount(visibility.owner.ravel() + 1, minlength=len(placed) + 1)[1:]
    return [float(pixels / fish.mask.sum()) for pixels, fish in zip(visible, placed, strict=True)]


class _VisibilityMap:
    """The fish that is visible at each pixel (-1: none), and for each fish its pixels and how many are visible."""

    def __init__(self, size: int) -> None:
        self.owner = np.full((size, size), -1, np.int16)
        self.area = np.zeros(0, np.int64)
        self.visible = np.zeros(0, np.int64)

    def fits(self, mask: np.ndarray, left: int, top: int) -> bool:
        """Return whether this fish and all those below it would stay visible enough."""
        under, inside = self._window(mask, left, top)
        minimum = MIN_VISIBLE + MARGIN
        if np.count_nonzero(inside) < minimum * np.count_nonzero(mask):
            return False
        return bool(np.all(self.visible - self._hidden(under, inside) >= minimum * self.area))

    def add(self, mask: np.ndarray, left: int, top: int) -> None:
        """Add a fish on top of all others."""
        under, inside = self._window(mask, left, top)
        self.visible = np.append(self.visible - self._hidden(under, inside), np.count_nonzero(inside))
        under[inside] = len(self.area)
        self.area = np.append(self.area, np.count_nonzero(mask))

    def _hidden(self, under: np.ndarray, inside: np.ndarray) -> np.ndarray:
        return np.bincount(under[inside] + 1, minlength=len(self.area) + 1)[1:]

    def _window(self, mask: np.ndarray, left: int, top: int) -> tuple[np.ndarray, np.ndarray]:
        rows, columns, inner_rows, inner_columns = overlap(mask.shape, left, top, len(self.owner))
        return self.owner[rows, columns], mask[inner_rows, inner_columns]


def overlap(shape: tuple[int, ...], left: int, top: int, size: int) -> tuple[slice, slice, slice, slice]:
    """Return the part of a cut-out inside the image: rows and columns of the image, then those of the cut-out."""
    row, column = max(0, top), max(0, left)
    last_row, last_column = max(row, min(size, top + shape[0])), max(column, min(size, left + shape[1]))
    inner_rows, inner_columns = slice(row - top, last_row - top), slice(column - left, last_column - left)
    return slice(row, last_row), slice(column, last_column), inner_rows, inner_columns


def _scatter(draw_fish: DrawFish, count: int, size: int, rng: np.random.Generator) -> list[PlacedFish]:
    """Place fish at random, far and small ones first; stop at the first that fits nowhere, however short."""
    visibility, placed = _VisibilityMap(size), []
    for depth in np.sort(rng.random(count))[::-1]:
        fish = _find_spot(visibility, draw_fish, float(depth), _length(float(depth), count, size, rng), rng)
        if fish is None:
            break
        visibility.add(fish.mask, fish.left, fish.top)
        placed.append(fish)
    return placed


def _length(depth: float, count: int, size: int, rng: np.random.Generator) -> float:
    """Draw a length in pixels: shorter for far fish, and for many, so that they never cover most of the image."""
    longest = min(MAX_LENGTH, max(1.3 * MIN_LENGTH, 1 / math.sqrt(count)))
    apparent_depth = min(1.0, max(0.0, depth + 0.2 * rng.standard_normal()))  # species differ in size
    return size * longest * (MIN_LENGTH / longest) ** apparent_depth


def _find_spot(
    visibility: _VisibilityMap, draw_fish: DrawFish, depth: float, length: float, rng: np.random.Generator
) -> PlacedFish | None:
    """Return a fish at a random spot where it fits, after some tries a shorter one; None if none fits."""
    size = len(visibility.owner)
    for _ in range(LENGTHS_PER_FISH):
        rgba = np.asarray(draw_fish(length, rng))
        mask = solid_mask(rgba)
        for x, y in rng.uniform(0.02, 0.98, (TRIES_PER_LENGTH, 2)) * size:
            left, top = round(x - rgba.shape[1] / 2), round(y - rgba.shape[0] / 2)
            if visibility.fits(mask, left, top):
                return PlacedFish(rgba, left, top, depth)
        length = max(MIN_LENGTH * size, 0.75 * length)
    return None


def _on_grid(draw_fish: DrawFish, count: int, size: int, rng: np.random.Generator) -> list[PlacedFish]:
    """Place one fish per grid cell, shrunk to fit into it: the last resort."""
    cells = math.ceil(math.sqrt(count))
    cell = size // cells
    placed = []
    for index in rng.permutation(cells * cells)[:count]:
        image = draw_fish(MIN_LENGTH * size, rng).copy()
        image.thumbnail((cell, cell))
        row, column = divmod(int(index), cells)
        placed.append(PlacedFish(np.asarray(image), column * cell, row * cell, 0.5))
    return placed
