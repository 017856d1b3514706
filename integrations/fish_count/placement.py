"""Where the fish go: cut-outs laid over one another so that every one of them can still be counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

# A fish counts when half of it is seen. The margin keeps that true for a reader who draws the edge of a fish elsewhere.
LEAST_VISIBLE = 0.5
MARGIN = 0.06

# Lengths as shares of the picture's side: 26 and 70 pixels at 256. Seen from the front a fish is up to 15 % shorter.
SHORTEST = 26 / 256
LONGEST = 70 / 256

# The largest count that the last resort, a grid of 8 by 8 cells of 1/8 side, takes at the shortest length.
MOST_FISH = 60

TRIES_PER_LENGTH = 24
LENGTHS_PER_FISH = 4
LAYOUTS = 3

DrawFish = Callable[[float, np.random.Generator], Image.Image]


@dataclass(frozen=True)
class Placed:
    """A cut-out in the picture: pixels (uint8, height x width x RGBA), upper left corner, depth (0 near, 1 far)."""

    rgba: np.ndarray
    left: int
    top: int
    depth: float

    @property
    def mask(self) -> np.ndarray:
        """The pixels that count as the fish: bool, height x width."""
        return solid(self.rgba)


def solid(rgba: np.ndarray) -> np.ndarray:
    """The pixels at least half as opaque as the most opaque one, so that no cut-out is empty."""
    alpha = rgba[..., 3]
    return alpha >= max(1, (int(alpha.max()) + 1) // 2)


def place(draw_fish: DrawFish, count: int, size: int, rng: np.random.Generator) -> list[Placed]:
    """Lay exactly `count` fish over a square of `size` pixels, farthest first, each at least half visible.

    `draw_fish(length_px, rng)` gives an RGBA cut-out; it is asked again for a shorter one where the picture is crowded.
    The number of tries is bounded: a layout that will not come by chance is made on a grid.
    """
    for _ in range(LAYOUTS):
        placed = _scatter(draw_fish, count, size, rng)
        if len(placed) == count:
            return placed
    return _on_grid(draw_fish, count, size, rng)


def visible_fractions(placed: list[Placed], size: int) -> list[float]:
    """The share of each fish that is seen, counted anew from the masks: later fish cover earlier ones."""
    board = _Board(size)
    for fish in placed:
        board.put(fish.mask, fish.left, fish.top)
    seen = np.bincount(board.owner.ravel() + 1, minlength=len(placed) + 1)[1:]
    return [float(pixels / fish.mask.sum()) for pixels, fish in zip(seen, placed, strict=True)]


class _Board:
    """Which fish is seen at each pixel (-1: none), and how many pixels of each fish there are and are seen."""

    def __init__(self, size: int) -> None:
        self.owner = np.full((size, size), -1, np.int16)
        self.area = np.zeros(0, np.int64)
        self.seen = np.zeros(0, np.int64)

    def fits(self, mask: np.ndarray, left: int, top: int) -> bool:
        """Would this fish and all those below it stay visible enough?"""
        under, inside = self._window(mask, left, top)
        least = LEAST_VISIBLE + MARGIN
        if np.count_nonzero(inside) < least * np.count_nonzero(mask):
            return False
        return bool(np.all(self.seen - self._hidden(under, inside) >= least * self.area))

    def put(self, mask: np.ndarray, left: int, top: int) -> None:
        """Lay the fish on top of all others."""
        under, inside = self._window(mask, left, top)
        self.seen = np.append(self.seen - self._hidden(under, inside), np.count_nonzero(inside))
        under[inside] = len(self.area)
        self.area = np.append(self.area, np.count_nonzero(mask))

    def _hidden(self, under: np.ndarray, inside: np.ndarray) -> np.ndarray:
        return np.bincount(under[inside] + 1, minlength=len(self.area) + 1)[1:]

    def _window(self, mask: np.ndarray, left: int, top: int) -> tuple[np.ndarray, np.ndarray]:
        rows, columns, inner_rows, inner_columns = overlap(mask.shape, left, top, len(self.owner))
        return self.owner[rows, columns], mask[inner_rows, inner_columns]


def overlap(shape: tuple[int, ...], left: int, top: int, size: int) -> tuple[slice, slice, slice, slice]:
    """The part of a cut-out inside the picture: rows and columns of the picture, then those of the cut-out."""
    row, column = max(0, top), max(0, left)
    last_row, last_column = max(row, min(size, top + shape[0])), max(column, min(size, left + shape[1]))
    inner_rows, inner_columns = slice(row - top, last_row - top), slice(column - left, last_column - left)
    return slice(row, last_row), slice(column, last_column), inner_rows, inner_columns


def _scatter(draw_fish: DrawFish, count: int, size: int, rng: np.random.Generator) -> list[Placed]:
    """Fish at random, far ones first and smaller; shorter than asked for where no free spot is found."""
    board, placed = _Board(size), []
    for depth in np.sort(rng.random(count))[::-1]:
        fish = _find_spot(board, draw_fish, float(depth), _length(float(depth), count, size, rng), rng)
        if fish is None:
            break
        board.put(fish.mask, fish.left, fish.top)
        placed.append(fish)
    return placed


def _length(depth: float, count: int, size: int, rng: np.random.Generator) -> float:
    """Far fish look shorter; many fish are shorter, so that together they never cover most of the picture."""
    longest = min(LONGEST, max(1.3 * SHORTEST, 1 / math.sqrt(count)))
    share = min(1.0, max(0.0, depth + 0.2 * rng.standard_normal()))  # species differ in size
    return size * longest * (SHORTEST / longest) ** share


def _find_spot(
    board: _Board, draw_fish: DrawFish, depth: float, length: float, rng: np.random.Generator
) -> Placed | None:
    size = len(board.owner)
    for _ in range(LENGTHS_PER_FISH):
        rgba = np.asarray(draw_fish(length, rng))
        mask = solid(rgba)
        for x, y in rng.uniform(0.02, 0.98, (TRIES_PER_LENGTH, 2)) * size:
            left, top = round(x - rgba.shape[1] / 2), round(y - rgba.shape[0] / 2)
            if board.fits(mask, left, top):
                return Placed(rgba, left, top, depth)
        length = max(SHORTEST * size, 0.75 * length)
    return None


def _on_grid(draw_fish: DrawFish, count: int, size: int, rng: np.random.Generator) -> list[Placed]:
    """The last resort: one fish to a cell, made to fit into it."""
    cells = math.ceil(math.sqrt(count))
    cell = size // cells
    placed = []
    for index in rng.permutation(cells * cells)[:count]:
        image = draw_fish(SHORTEST * size, rng).copy()
        image.thumbnail((cell, cell))
        row, column = divmod(int(index), cells)
        placed.append(Placed(np.asarray(image), column * cell, row * cell, 0.5))
    return placed
