"""Underwater scenes drawn from nothing but random numbers: a backdrop with an exact number of fish in it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from . import placement
from .backdrop import draw_backdrop
from .fish import draw_fish
from .placement import DrawFish, PlacedFish
from .species import SPECIES

# Mean difference from what is behind it, in levels of 255, that haze leaves to a fish.
MIN_CONTRAST = 30
MAX_HAZE = 0.55


def draw_scene(count: int, size: int, rng: np.random.Generator) -> Image.Image:
    """Draw an RGB image of `size` x `size` pixels with exactly `count` fish, each at least half visible."""
    return draw_scene_and_fish(count, size, rng)[0]


def draw_scene_and_fish(count: int, size: int, rng: np.random.Generator) -> tuple[Image.Image, list[PlacedFish]]:
    """Return the image of `draw_scene` and the fish in it, farthest first."""
    pixels, water = draw_backdrop(size, rng)
    placed = placement.place_fish(_choose_fish(rng), count, size, rng)
    for fish in placed:
        _paste(pixels, fish, water)
    return finish(pixels, rng), placed


def finish(pixels: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Add camera noise to a float32 image and round it to RGB bytes."""
    pixels += rng.uniform(1.5, 3.5) * rng.standard_normal(pixels.shape, np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))


def blend(pixels: np.ndarray, fish: PlacedFish, colours: np.ndarray) -> None:
    """Blend a fish of these colours (float32, height x width x 3) into the image, by its alpha."""
    rows, columns, inner_rows, inner_columns = placement.overlap(fish.rgba.shape, fish.left, fish.top, len(pixels))
    alpha = fish.rgba[inner_rows, inner_columns, 3:].astype(np.float32) / 255
    under = pixels[rows, columns]
    under += (colours[inner_rows, inner_columns] - under) * alpha


def _choose_fish(rng: np.random.Generator) -> DrawFish:
    """Return what draws a scene's fish: a school of one variety swimming one way, or a mix of up to five species."""
    all_species = list(SPECIES.values())
    school = rng.random() < 0.3
    chosen = rng.choice(len(all_species), 1 if school else int(rng.integers(1, 6)), replace=False)
    varieties = [(all_species[i], coat) for i in chosen for coat in all_species[i].coats]
    if school:
        varieties = [varieties[rng.integers(len(varieties))]]
    heading, side, spread = (rng.uniform(-35, 35), rng.choice((-1, 1)), 10) if school else (0, 0, 28)

    def draw(length_px: float, rng: np.random.Generator) -> Image.Image:
        species, coat = varieties[rng.integers(len(varieties))]
        pose = float(heading + spread * rng.standard_normal()), int(side or rng.choice((-1, 1)))
        return draw_fish(species, coat, length_px, pose, rng)

    return draw


def _paste(pixels: np.ndarray, fish: PlacedFish, water: np.ndarray) -> None:
    """Blend a fish into the image, with haze in front of it, but no more than leaves it visible."""
    rows, columns, inner_rows, inner_columns = placement.overlap(fish.rgba.shape, fish.left, fish.top, len(pixels))
    row = (rows.start + rows.stop) // 2
    plain = fish.rgba[..., :3].astype(np.float32)
    inside = fish.mask[inner_rows, inner_columns]
    contrast = float(np.abs(plain[inner_rows, inner_columns][inside] - pixels[rows, columns][inside]).mean())
    haze = min(MAX_HAZE * fish.depth, max(0.0, 1 - MIN_CONTRAST / max(1.0, contrast)))
    blend(pixels, fish, plain + haze * (water[row] - plain))
