"""Underwater scenes drawn from nothing but numbers: a backdrop with an exact number of fish in it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from . import placement
from .backdrop import draw_backdrop
from .fish import draw_fish
from .placement import DrawFish, Placed
from .species import SPECIES

# Mean difference to what is behind it, in levels of 255, that a fish keeps through the haze.
LEAST_CONTRAST = 30
DEEPEST_HAZE = 0.55


def draw_scene(count: int, size: int, rng: np.random.Generator) -> Image.Image:
    """Draw an RGB picture of `size` x `size` pixels with exactly `count` fish, each at least half visible."""
    return draw_scene_and_fish(count, size, rng)[0]


def draw_scene_and_fish(count: int, size: int, rng: np.random.Generator) -> tuple[Image.Image, list[Placed]]:
    """The picture of `draw_scene`, and the fish in it as they were laid, farthest first."""
    picture, water = draw_backdrop(size, rng)
    placed = placement.place(_shoal(rng), count, size, rng)
    for one in placed:
        _paste(picture, one, water)
    return finish(picture, rng), placed


def finish(picture: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Add the noise of a camera to a float32 picture and round it to RGB bytes."""
    picture += rng.uniform(1.5, 3.5) * rng.standard_normal(picture.shape, np.float32)
    return Image.fromarray(np.clip(picture, 0, 255, out=picture).astype(np.uint8))


def blend(picture: np.ndarray, one: Placed, colour: np.ndarray) -> None:
    """Lay a cut-out of that colour (float32, height x width x 3) over the picture, by its alpha."""
    rows, columns, inner_rows, inner_columns = placement.overlap(one.rgba.shape, one.left, one.top, len(picture))
    alpha = one.rgba[inner_rows, inner_columns, 3:].astype(np.float32) / 255
    under = picture[rows, columns]
    under += (colour[inner_rows, inner_columns] - under) * alpha


def _shoal(rng: np.random.Generator) -> DrawFish:
    """A way to draw the fish of one scene: a school of one kind that swims one way, or up to five kinds that do not."""
    kinds = list(SPECIES.values())
    school = rng.random() < 0.3
    chosen = rng.choice(len(kinds), 1 if school else int(rng.integers(1, 6)), replace=False)
    varieties = [(kinds[k], coat) for k in chosen for coat in kinds[k].coats]
    if school:
        varieties = [varieties[rng.integers(len(varieties))]]
    heading, side, spread = (rng.uniform(-35, 35), rng.choice((-1, 1)), 10) if school else (0, 0, 28)

    def draw(length_px: float, rng: np.random.Generator) -> Image.Image:
        species, coat = varieties[rng.integers(len(varieties))]
        pose = float(heading + spread * rng.standard_normal()), int(side or rng.choice((-1, 1)))
        return draw_fish(species, coat, length_px, pose, rng)

    return draw


def _paste(picture: np.ndarray, one: Placed, water: np.ndarray) -> None:
    """Lay a fish over the picture through as much haze as leaves it in sight."""
    rows, columns, inner_rows, inner_columns = placement.overlap(one.rgba.shape, one.left, one.top, len(picture))
    row = (rows.start + rows.stop) // 2
    plain = one.rgba[..., :3].astype(np.float32)
    seen = one.mask[inner_rows, inner_columns]
    contrast = float(np.abs(plain[inner_rows, inner_columns][seen] - picture[rows, columns][seen]).mean())
    haze = min(DEEPEST_HAZE * one.depth, max(0.0, 1 - LEAST_CONTRAST / max(1.0, contrast)))
    blend(picture, one, plain + haze * (water[row] - plain))
